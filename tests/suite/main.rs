//! The whole service under test. One file a subject; each test stands alone.

mod calls;
mod functions;
mod lifecycle;
