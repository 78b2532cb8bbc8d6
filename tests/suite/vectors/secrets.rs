//! A minimal AWS Secrets Manager.

use serde_json::{Value, json};
use shared::aws;
use shared::clock::Clock;
use shared::vector::Services;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub(super) const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:vectors-AbCdEf";

/// A server that responds like Secrets Manager.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<Mutex<(Value, u16, usize)>>);

impl Secrets {
    pub(super) async fn start(&self) -> Services {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let secrets = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                secrets.respond(stream).await;
            }
        });
        Services {
            aws: aws::local_config(&endpoint, None),
            password: None,
            token: None,
            clock: Clock::System,
        }
    }

    pub(super) fn set(&self, status: u16, body: Value) {
        let mut state = self.0.lock().unwrap();
        (state.0, state.1) = (body, status);
    }

    pub(super) fn hold(&self, secret: &str) {
        self.set(
            200,
            json!({"ARN": ARN, "Name": "vectors", "SecretString": secret}),
        );
    }

    pub(super) fn calls(&self) -> usize {
        self.0.lock().unwrap().2
    }

    /// Serves one request.
    async fn respond(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let start = head.len();
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
            let line = head[start..].trim().to_ascii_lowercase();
            match line.strip_prefix("content-length:") {
                Some(number) => length = number.trim().parse().unwrap(),
                None if line.is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let asked: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(asked, json!({ "SecretId": ARN }));
        assert!(
            head.to_ascii_lowercase()
                .contains("x-amz-target: secretsmanager.getsecretvalue")
        );
        let (body, status) = {
            let mut state = self.0.lock().unwrap();
            state.2 += 1;
            (state.0.to_string(), state.1)
        };
        let response = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(response.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}
