//! The OpenAPI document and the service say the same.

mod examples;
mod gateway;
mod rules;
