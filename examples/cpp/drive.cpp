// From an empty disk to a file on it and back.
//
//   drive [ADDRESS]     CMakeLists.txt, beside this file, says how to build it
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>
#include <guestfs/v1/file.grpc.pb.h>
#include <guestfs/v1/filesystem.grpc.pb.h>
#include <guestfs/v1/mount.grpc.pb.h>
#include <guestfs/v1/partition.grpc.pb.h>
#include <guestfs/v1/session.grpc.pb.h>
#include <guestfs/v1/transfer.grpc.pb.h>

#include <iostream>
#include <random>
#include <stdexcept>

namespace api = guestfs::v1;

constexpr std::size_t kMiB = 1 << 20;

// The reason of an error, such as ENOENT: a proxy's error has none.
std::string reason_of(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details())
    if (detail.UnpackTo(&info)) return info.reason();
  return "";
}

void check(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(reason_of(status) + ": " + status.error_message());
}

// The context of a call: with a request ID, a call that is repeated is made once; the other key names the session.
struct Context : grpc::ClientContext {
  explicit Context(const std::string& session) {
    static std::random_device random;
    AddMetadata("guestfs-request-id", std::to_string(random()) + "-" + std::to_string(random()));
    if (!session.empty()) AddMetadata("guestfs-session", session);
  }
};

// Makes a call that has one answer.
template <class Stub, class Request, class Answer>
grpc::Status call(Stub& stub, grpc::Status (Stub::*rpc)(grpc::ClientContext*, const Request&, Answer*),
                  const std::string& session, const Request& request, Answer* answer) {
  Context context(session);
  return (stub.*rpc)(&context, request, answer);
}

void use(const std::shared_ptr<grpc::Channel>& channel, const std::string& session) {
  api::PartDiskRequest partition;
  partition.set_device("/dev/sda");
  partition.set_parttype("gpt");
  api::PartDiskResponse partitioned;
  api::PartitionService::Stub partitions(channel);
  check(call(partitions, &api::PartitionService::Stub::PartDisk, session, partition, &partitioned));
  api::MkfsRequest mkfs;
  mkfs.set_fstype("ext4");
  mkfs.set_device("/dev/sda1");
  api::MkfsResponse made;
  api::FilesystemService::Stub filesystems(channel);
  check(call(filesystems, &api::FilesystemService::Stub::Mkfs, session, mkfs, &made));
  api::MountRequest mount;
  mount.set_mountable("/dev/sda1");
  mount.set_mountpoint("/");
  api::MountResponse mounted;
  api::MountService::Stub mounts(channel);
  check(call(mounts, &api::MountService::Stub::Mount, session, mount, &mounted));

  std::string content;
  for (char number = 1; number <= 8; ++number) content.append(kMiB, number);
  api::TransferService::Stub transfers(channel);
  {
    Context context(session);
    api::UploadResponse answer;
    auto upload = transfers.Upload(&context, &answer);
    api::UploadRequest message;
    message.mutable_arguments()->set_remotefilename("/file");
    upload->Write(message);
    for (std::size_t sent = 0; sent < content.size(); sent += kMiB) {
      message.set_chunk(content.substr(sent, kMiB));
      // Returns when the service accepts it; false: the upload has failed, and Finish says why.
      if (!upload->Write(message)) break;
      std::cout << "sent " << sent / kMiB + 1 << " of 8 MiB" << std::endl;
    }
    upload->WritesDone();
    check(upload->Finish());
  }
  api::DownloadRequest wanted;
  api::DownloadResponse part;
  {
    Context context(session);
    wanted.set_remotefilename("/file");
    auto download = transfers.Download(&context, wanted);
    std::string received;
    while (download->Read(&part)) received += part.chunk();
    check(download->Finish());
    if (received != content) throw std::runtime_error("the file has changed");
    std::cout << "received the same 8 MiB" << std::endl;
  }

  api::CatRequest missing;
  missing.set_path("/missing");
  api::CatResponse text;
  api::FileService::Stub files(channel);
  std::cout << "cat /missing: " << reason_of(call(files, &api::FileService::Stub::Cat, session, missing, &text)) << std::endl;

  Context context(session);
  wanted.set_remotefilename("/dev/sda");
  auto download = transfers.Download(&context, wanted);
  while (download->Read(&part)) context.TryCancel();
  if (download->Finish().error_code() != grpc::StatusCode::CANCELLED) throw std::runtime_error("it was not cancelled");
  std::cout << "cancelled a download" << std::endl;
}

int main(int argc, char* argv[]) {
  auto channel = grpc::CreateChannel(argc > 1 ? argv[1] : "127.0.0.1:50051", grpc::InsecureChannelCredentials());
  api::SessionService::Stub sessions(channel);
  api::CreateSessionRequest wanted;
  wanted.set_launch(true);
  auto* drive = wanted.add_drives();
  drive->set_scratch_size(64 * kMiB);
  drive->set_writable(true);
  api::CreateSessionResponse created;
  api::DeleteSessionResponse deleted;
  int code = 0;
  try {
    check(call(sessions, &api::SessionService::Stub::CreateSession, "", wanted, &created));
    std::cout << "launched" << std::endl;
    try {
      use(channel, created.id());
    } catch (const std::exception& error) {
      std::cerr << error.what() << std::endl;
      code = 1;
    }
    check(call(sessions, &api::SessionService::Stub::DeleteSession, created.id(), api::DeleteSessionRequest(), &deleted));
    std::cout << "deleted" << std::endl;
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    code = 1;
  }
  return code;
}
