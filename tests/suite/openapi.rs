//! Tests that the OpenAPI document and the service agree.

mod examples;
mod gateway;
mod rules;
