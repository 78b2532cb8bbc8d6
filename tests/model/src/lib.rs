//! The protocol of tasks as a model, with a check of every state.
//!
//! A [`State`](state::State) is everything at one instant: the stored items, the queue, the index,
//! and how far each process is. From a state, [`Model::steps`](step::Model::steps) returns
//! everything that can happen next, one call or one fault at a time. The steps of each actor are in
//! a separate file. [`search`](search::search) goes through every reachable state, the nearest
//! first. It checks each step against the [invariants](invariants::Invariant) of the design, which
//! keep their numbers. At the end it checks that from each state the task can still end without a
//! further fault.
//!
//! [`Variant`](variant::Variant) lists the same protocol with one guard left out. Each variant
//! breaks an invariant, and the search shows the shortest way to the violation. So the model shows
//! the purpose of every guard.
//!
//! The model is independent: it shares no code with the service. If the two differ, one of them is
//! wrong.
//!
//! # Bounds
//!
//! There is one task of two chunks with one object each, which may have three parts. There are two
//! creates, two workers, three restarts and two tries. A claim makes two delete calls if they fail,
//! one more if the object is kept, and one more for each part. Everything else may happen any
//! number of times. [`Scenario`](scenario::Scenario) says which faults come together.
//!
//! # Not modelled
//!
//! - Invariant 10, which is about reads.
//! - Expiry, ids that a store refuses, and a missing index.
//! - Several objects in a chunk, and therefore a claim that is settled in part.
//! - A restart of a pending task, which does the same as the sweeper.
//! - The delays between sends: work that is due later may be due at once. Times in general: a lease
//!   is in force or over.
//! - Deletes by others: an object that is gone was deleted by this service.
//! - A store that carries out a delete after its response, and a store that responds *more*
//!   although no part was deleted.
//! - Failures of DynamoDB other than a lost response. A worker whose write finally fails is treated
//!   as killed.
//! - A delete call whose worker goes on without waiting for it, although it may still arrive. A
//!   worker that stops waiting has to end as if it were killed, without a settlement;
//!   [`AbandonedCall`](variant::Variant::AbandonedCall) shows why.
//!
//! Two variants are mistakes in an early version of the protocol, which the model corrects:
//! [`PendingToDone`](variant::Variant::PendingToDone) and
//! [`EarlierAttempt`](variant::Variant::EarlierAttempt).

pub mod chunk_work;
pub mod control;
pub mod create;
pub mod environment;
pub mod fan_out;
pub mod invariants;
pub mod process;
pub mod queue;
pub mod scenario;
pub mod search;
mod seen;
pub mod settle;
pub mod state;
pub mod step;
pub mod variant;
