//! The recipient's side of the wire: a donor's guard is asked, and what it sends is unpacked as it comes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use failover_core::{CopyPhase, CopyReport};
use model::ServerId;
use replication_mysql::{CopyPlace, Deadline, DonorStates, Receiving};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Copies;
use super::frames::{self, FRAME_MAX, Said};

/// Connect and TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// What unpacks is done this long after its last byte.
const UNPACKED: Duration = Duration::from_secs(60);
/// One in so many is kept free beyond what is expected, since the donor grows while it is copied.
const ROOM: u64 = 20;

/// Copies `donor` into what is beside the data directory. The caller bounds it.
pub async fn fetch(copies: &Copies, donor: &ServerId, place: &CopyPlace) -> Result<DonorStates> {
    let mut stream = timeout(CONNECT, dial(copies, donor)).await.context("it does not answer in time")??;
    let mut body = Vec::with_capacity(FRAME_MAX);
    let Said::Begin { expected } = heard(frames::hear(&mut stream, &mut body).await?)? else {
        bail!("it does not say that a copy begins");
    };
    place.room_for(expected.saturating_add(expected / ROOM))?;
    let mut receiving = Receiving::start(place, &copies.tools.unpack).await?;
    let mut bytes = 0;
    let states = loop {
        copies.tell(Some(CopyReport { phase: CopyPhase::Copying, bytes, expected }));
        match heard(frames::hear(&mut stream, &mut body).await?)? {
            Said::Bytes => {
                receiving.take(&body).await?;
                bytes += body.len() as u64;
            }
            Said::Alive => {}
            Said::End(states) => break states,
            Said::Begin { .. } | Said::Failed(_) => bail!("it says that a copy begins, within one"),
        }
    };
    receiving.end(Deadline::after(UNPACKED)).await?;
    Ok(states)
}

async fn dial(copies: &Copies, donor: &ServerId) -> Result<TlsStream<TcpStream>> {
    let address = copies.donors.get(donor).context("it is no other server of this group")?;
    let tcp =
        TcpStream::connect(address).await.with_context(|| format!("connect to its guard at {address}"))?;
    let name = ServerName::try_from(donor.to_string())?;
    let stream = TlsConnector::from(copies.client.clone()).connect(name, tcp).await;
    stream.map_err(|error| anyhow::anyhow!("tls with {address}: {}", app_cert::explain(&error)))
}

fn heard(said: Said) -> Result<Said> {
    match said {
        Said::Failed(why) => bail!("its guard says: {why}"),
        other => Ok(other),
    }
}
