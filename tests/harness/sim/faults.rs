//! What happens to a call: drawn by chance, or planned for one call.

use fastrand::Rng;
use std::time::Duration;

/// The longest time that a request to the store takes to arrive, whether or not its sender still
/// waits or lives. The margin of the lease relies on it.
const LONGEST_WAY_TO_THE_STORE: Duration = Duration::from_secs(10);
/// The same for all other requests. Their guards do not depend on time.
pub(crate) const LONGEST_WAY: Duration = Duration::from_secs(180);

/// Which service a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    DynamoDb,
    Sqs,
    S3Vectors,
    EventBridge,
}

/// What happens to a request and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The request is served.
    Served,
    /// The request never arrives. The sender notices at once, or only at its timeout.
    Unsent { noticed: bool },
    /// The request is served, and the response is lost. The sender notices at once, or only at its
    /// timeout.
    ResponseLost { noticed: bool },
    /// The service refuses the request with this status and error, without serving it.
    Refused(u16, &'static str),
    /// The service serves a part of the request. Then it fails (a delete), or reports the rest as
    /// not processed (a batch).
    Partly,
}

/// When the calling process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Before the request is sent.
    Before,
    /// While the request is on its way.
    OnTheWay,
    /// When the request has been served, before the response comes.
    After,
}

/// Everything that is planned for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How long the request takes to arrive.
    pub(crate) before: Duration,
    /// How long the response takes.
    pub(crate) after: Duration,
    pub(crate) fate: Fate,
    pub(crate) death: Option<Death>,
}

/// The chances, 0 to 1, of what may happen to one call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chances {
    pub(crate) unsent: f64,
    pub(crate) response_lost: f64,
    pub(crate) throttled: f64,
    pub(crate) store_throttled: f64,
    pub(crate) failing: f64,
    pub(crate) store_failing: f64,
    pub(crate) partly: f64,
    pub(crate) conflict: f64,
    pub(crate) death: f64,
    /// The chance that a call takes up to two seconds.
    pub(crate) slow: f64,
    /// The chance that a call takes up to as long as its sender waits.
    pub(crate) very_slow: f64,
    /// The chance that the index is missing or access to it is denied.
    pub(crate) no_index: f64,
}

/// Decides about calls.
#[derive(Clone, Debug)]
pub(crate) enum Planner {
    /// There are no faults.
    Calm,
    /// Faults come by chance.
    Chances(Chances),
    /// This happens to the call with this number, counted from 0, and to no other.
    At(usize, Fate, Option<Death>),
    /// A process that makes this call dies before the call is sent.
    DeathAt(&'static str),
}

impl Planner {
    /// Decides about the next call.
    pub(crate) fn plan(&self, number: usize, target: Target, name: &str, rng: &mut Rng) -> Plan {
        let calm = Plan {
            before: Duration::from_millis(1),
            after: Duration::from_millis(1),
            fate: Fate::Served,
            death: None,
        };
        match self {
            Self::Calm => calm,
            Self::At(at, fate, death) if *at == number => Plan {
                fate: *fate,
                death: *death,
                ..calm
            },
            Self::DeathAt(call) if *call == name => Plan {
                death: Some(Death::Before),
                ..calm
            },
            Self::At(..) | Self::DeathAt(_) => calm,
            Self::Chances(chances) => Plan {
                before: chances.way(target, rng),
                after: chances.way(target, rng),
                fate: chances.fate(target, name, rng),
                death: chances.death(rng),
            },
        }
    }
}

impl Chances {
    fn way(&self, target: Target, rng: &mut Rng) -> Duration {
        let drawn = rng.f64();
        let most = if drawn < self.very_slow {
            if target == Target::S3Vectors || rng.bool() {
                LONGEST_WAY_TO_THE_STORE.as_millis()
            } else {
                LONGEST_WAY.as_millis()
            }
        } else if drawn < self.very_slow + self.slow {
            2_000
        } else {
            20
        };
        Duration::from_millis(rng.u64(1..=u64::try_from(most).unwrap_or(1)))
    }

    fn death(&self, rng: &mut Rng) -> Option<Death> {
        (rng.f64() < self.death).then(|| match rng.u8(0..3) {
            0 => Death::Before,
            1 => Death::OnTheWay,
            _ => Death::After,
        })
    }

    fn fate(&self, target: Target, name: &str, rng: &mut Rng) -> Fate {
        let is_store = target == Target::S3Vectors;
        let is_write = matches!(name, "UpdateItem" | "PutItem" | "TransactWriteItems");
        let is_batch = matches!(
            name,
            "DeleteVectors" | "BatchGetItem" | "BatchWriteItem" | "SendMessageBatch" | "PutEvents"
        );
        let refusals = refusals(target);
        let kinds = [
            (self.unsent, 0),
            (self.response_lost, 1),
            (
                if is_store {
                    self.store_throttled
                } else {
                    self.throttled
                },
                2,
            ),
            (
                if is_store {
                    self.store_failing
                } else {
                    self.failing
                },
                3,
            ),
            (if is_batch { self.partly } else { 0.0 }, 4),
            (if is_write { self.conflict } else { 0.0 }, 5),
            (if is_store { self.no_index } else { 0.0 }, 6),
        ];
        let mut drawn = rng.f64();
        let noticed = rng.bool();
        for (chance, kind) in kinds {
            if drawn >= chance {
                drawn -= chance;
                continue;
            }
            return match kind {
                0 => Fate::Unsent { noticed },
                1 => Fate::ResponseLost { noticed },
                2 => refusals.throttled[usize::from(rng.bool())],
                3 => refusals.failed[usize::from(rng.bool())],
                4 => Fate::Partly,
                5 if name == "TransactWriteItems" => {
                    Fate::Refused(400, "TransactionCanceledException")
                }
                5 => Fate::Refused(400, "TransactionConflictException"),
                _ if rng.bool() => Fate::Refused(404, "NotFoundException"),
                _ => Fate::Refused(403, "AccessDeniedException"),
            };
        }
        Fate::Served
    }
}

struct Refusals {
    throttled: [Fate; 2],
    failed: [Fate; 2],
}

fn refusals(target: Target) -> Refusals {
    match target {
        Target::DynamoDb => Refusals {
            throttled: [
                Fate::Refused(400, "ProvisionedThroughputExceededException"),
                Fate::Refused(400, "ThrottlingException"),
            ],
            failed: [
                Fate::Refused(500, "InternalServerError"),
                Fate::Refused(503, "ServiceUnavailable"),
            ],
        },
        Target::Sqs => Refusals {
            throttled: [
                Fate::Refused(403, "RequestThrottled"),
                Fate::Refused(400, "ThrottlingException"),
            ],
            failed: [
                Fate::Refused(500, "InternalError"),
                Fate::Refused(503, "ServiceUnavailable"),
            ],
        },
        Target::EventBridge => Refusals {
            throttled: [
                Fate::Refused(400, "ThrottlingException"),
                Fate::Refused(400, "LimitExceededException"),
            ],
            failed: [
                Fate::Refused(500, "InternalException"),
                Fate::Refused(503, "ServiceUnavailable"),
            ],
        },
        Target::S3Vectors => Refusals {
            throttled: [
                Fate::Refused(429, "TooManyRequestsException"),
                Fate::Refused(429, "ThrottlingException"),
            ],
            failed: [
                Fate::Refused(500, "InternalServerException"),
                Fate::Refused(503, "ServiceUnavailableException"),
            ],
        },
    }
}
