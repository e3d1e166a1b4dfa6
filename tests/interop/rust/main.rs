//! The reader of our service that is written with the types of async-nats: "call URL NAME" asks for
//! PING, INFO and STATS of a service, reads them, and prints them as JSON.

use async_nats::service::{Info, PingResponse, Stats};
use serde::{de::DeserializeOwned, Serialize};
use serde_json::{json, Value};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let client = async_nats::connect(&arguments[2]).await?;
    let name = &arguments[3];
    let seen = json!({
        "ping": ask::<PingResponse>(&client, "PING", name).await?,
        "info": ask::<Info>(&client, "INFO", name).await?,
        "stats": ask::<Stats>(&client, "STATS", name).await?,
    });
    println!("{seen}");
    Ok(())
}

async fn ask<T: DeserializeOwned + Serialize>(
    client: &async_nats::Client,
    verb: &str,
    name: &str,
) -> Result<Value, Failure> {
    let answer = client.request(format!("$SRV.{verb}.{name}"), "".into()).await?;
    Ok(serde_json::to_value(serde_json::from_slice::<T>(&answer.payload)?)?)
}
