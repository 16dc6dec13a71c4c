//! From an empty disk to a file on it and back.
//!
//!     drive [ADDRESS]     Cargo.toml says how to build it

use std::error::Error;
use stubs::file_service_client::FileServiceClient;
use stubs::filesystem_service_client::FilesystemServiceClient;
use stubs::mount_service_client::MountServiceClient;
use stubs::partition_service_client::PartitionServiceClient;
use stubs::session_service_client::SessionServiceClient;
use stubs::transfer_service_client::TransferServiceClient;
use stubs::{drive_spec, upload_request, *};
use tonic::{transport::Channel, Request};
use tonic_types::StatusExt;

#[allow(clippy::all, dead_code)]
mod stubs {
    include!("stubs/guestfs/v1/guestfs.v1.rs");
}

const MIB: usize = 1 << 20;

/// A call of a session: with a request ID, a call that is repeated is made once; the other key names the session.
fn call<T>(session: &str, message: T) -> Result<Request<T>, Box<dyn Error>> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("guestfs-request-id", uuid::Uuid::new_v4().to_string().parse()?);
    if !session.is_empty() {
        metadata.insert("guestfs-session", session.parse()?);
    }
    Ok(request)
}

async fn use_session(channel: Channel, id: &str) -> Result<(), Box<dyn Error>> {
    let table = PartDiskRequest { device: "/dev/sda".into(), parttype: "gpt".into() };
    PartitionServiceClient::new(channel.clone()).part_disk(call(id, table)?).await?;
    let mkfs = MkfsRequest { fstype: "ext4".into(), device: "/dev/sda1".into(), ..Default::default() };
    FilesystemServiceClient::new(channel.clone()).mkfs(call(id, mkfs)?).await?;
    let mount = MountRequest { mountable: "/dev/sda1".into(), mountpoint: "/".into() };
    MountServiceClient::new(channel.clone()).mount(call(id, mount)?).await?;

    let content: Vec<u8> = (1..=8).flat_map(|number| vec![number; MIB]).collect();
    let source = content.clone();
    // Read as fast as the service accepts it.
    let pieces = async_stream::stream! {
        let arguments = UploadArguments { remotefilename: "/file".into(), ..Default::default() };
        yield UploadRequest { payload: Some(upload_request::Payload::Arguments(arguments)) };
        for (number, piece) in source.chunks(MIB).enumerate() {
            yield UploadRequest { payload: Some(upload_request::Payload::Chunk(piece.to_vec())) };
            println!("sent {} of 8 MiB", number + 1);
        }
    };
    let mut transfers = TransferServiceClient::new(channel.clone());
    transfers.upload(call(id, pieces)?).await?;
    let wanted = DownloadRequest { remotefilename: "/file".into() };
    let mut download = transfers.download(call(id, wanted)?).await?.into_inner();
    let mut received = Vec::new();
    while let Some(part) = download.message().await? {
        received.extend(part.chunk);
    }
    if received != content {
        return Err("the file has changed".into());
    }
    println!("received the same 8 MiB");

    let missing = CatRequest { path: "/missing".into() };
    match FileServiceClient::new(channel).cat(call(id, missing)?).await {
        Ok(_) => return Err("it is not missing".into()),
        // A proxy's error has no reason.
        Err(status) => match status.get_details_error_info() {
            Some(info) => println!("cat /missing: {}", info.reason),
            None => return Err(status.into()),
        },
    }

    let wanted = DownloadRequest { remotefilename: "/dev/sda".into() };
    let mut download = transfers.download(call(id, wanted)?).await?.into_inner();
    download.message().await?;
    drop(download); // cancels it
    println!("cancelled a download");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:50051".into());
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let mut sessions = SessionServiceClient::new(channel.clone());
    let source = Some(drive_spec::Source::ScratchSize(64 * MIB as i64));
    let drive = DriveSpec { source, writable: true, ..Default::default() };
    let wanted = CreateSessionRequest { drives: vec![drive], launch: true, ..Default::default() };
    let id = sessions.create_session(call("", wanted)?).await?.into_inner().id;
    println!("launched");
    let used = use_session(channel, &id).await;
    sessions.delete_session(call(&id, DeleteSessionRequest::default())?).await?;
    used?;
    println!("deleted");
    Ok(())
}
