//! DynamoDB, SQS and S3 Vectors inside this process, each on its own port, called by the AWS SDK
//! over HTTP.

pub(crate) mod demo;
mod directory;
pub(crate) mod dynamodb;
mod dynamodb_calls;
mod quota;
pub(crate) mod s3vectors;
pub(crate) mod sqs;
mod vectors;
