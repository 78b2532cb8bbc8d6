//! The protocol of tasks as a model, every state of which is checked.
//!
//! A [`State`](state::State) is everything at one instant: the items that are stored, the queue,
//! the index, and how far each process is. From it [`Model::steps`](step::Model::steps) gives all
//! that can happen next, one call or one fault at a time; the steps of each actor are in a file of
//! its own. [`search`](search::search) goes through every state that can be reached, the nearest
//! first, and checks each step against the [invariants](invariants::Invariant) of the design, which
//! keep their numbers. At the end it checks that from each of them the task can still end without a
//! further fault.
//!
//! [`Variant`](variant::Variant) lists the same protocol with one guard left out. Each breaks an
//! invariant, and the search shows the shortest way to it. So the model says of every guard what it
//! is for.
//!
//! The model is an account of its own: it shares no code with the service. Where the two differ,
//! one of them is wrong.
//!
//! # What is bounded
//!
//! One task of two chunks with one object each, which may have three parts; two creates, two
//! workers, three restarts, two tries. A claim makes two delete calls if they fail, one more if the
//! object is kept, and one more for each part. All else may happen any number of times.
//! [`Scenario`](scenario::Scenario) says which faults come together.
//!
//! # What is left out
//!
//! - Invariant 10, which is about reads.
//! - Expiry, ids that a store refuses, an index that is missing.
//! - Several objects in a chunk, and so a claim that is settled in part.
//! - A restart of a pending task, which does what the sweeper does.
//! - The delays between sends: what is due later may be due at once. The times themselves: a lease
//!   is in force or over.
//! - Others who delete objects: what is gone was deleted by this service.
//! - A store that carries a delete out after it answered the call, and one that says *more* though
//!   no part went.
//! - Failures of DynamoDB other than a lost answer. A worker whose write fails for good is one that
//!   is killed.
//! - A delete call that nobody waits for though it may still arrive. A worker that stops waiting
//!   has to end as if it were killed, without a settlement;
//!   [`AbandonedCall`](variant::Variant::AbandonedCall) shows why.
//!
//! Where the protocol was first written down otherwise, the model has it as it has to be, and the
//! first version is a variant: [`PendingToDone`](variant::Variant::PendingToDone),
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
