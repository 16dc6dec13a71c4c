# From an empty disk to a file on it and back, with the gem grpc or Debian's package ruby-grpc.
#
#   npx buf generate --template proto/buf.gen.ruby.yaml -o examples/ruby/stubs
#   ruby -I examples/ruby/stubs examples/ruby/drive.rb [ADDRESS]
require 'securerandom'
require 'google/protobuf/well_known_types'
require 'grpc'
require 'google/rpc/error_details_pb'
require 'google/rpc/status_pb'
%w[file filesystem mount partition session transfer].each { |name| require "guestfs/v1/#{name}_services_pb" }

include Guestfs::V1

MIB = 1 << 20
CONTENT = (1..8).map { |number| number.chr * MIB }.join

# The metadata of a call: with a request ID, a call that is repeated is made once; the other key names the session.
def metadata(session = nil)
  { 'guestfs-request-id' => SecureRandom.uuid, 'guestfs-session' => session }.compact
end

# The reason of an error, such as ENOENT: a proxy's error has none.
def reason_of(error)
  details = Google::Rpc::Status.decode(error.metadata.fetch('grpc-status-details-bin', '')).details
  details.find { |detail| detail.is(Google::Rpc::ErrorInfo) }&.unpack(Google::Rpc::ErrorInfo)&.reason
end

# Read as fast as the service accepts it.
pieces = Enumerator.new do |messages|
  messages << UploadRequest.new(arguments: UploadArguments.new(remotefilename: '/file'))
  (0...CONTENT.size).step(MIB) do |sent|
    messages << UploadRequest.new(chunk: CONTENT.byteslice(sent, MIB))
    puts "sent #{sent / MIB + 1} of 8 MiB"
  end
end

$stdout.sync = true
address = ARGV.fetch(0, '127.0.0.1:50051')
stub = ->(service) { service::Stub.new(address, :this_channel_is_insecure) }
sessions = stub[SessionService]
drive = DriveSpec.new(scratch_size: 64 * MIB, writable: true)
id = sessions.create_session(CreateSessionRequest.new(drives: [drive], launch: true), metadata: metadata).id
puts 'launched'
begin
  stub[PartitionService].part_disk(PartDiskRequest.new(device: '/dev/sda', parttype: 'gpt'), metadata: metadata(id))
  stub[FilesystemService].mkfs(MkfsRequest.new(fstype: 'ext4', device: '/dev/sda1'), metadata: metadata(id))
  stub[MountService].mount(MountRequest.new(mountable: '/dev/sda1', mountpoint: '/'), metadata: metadata(id))

  transfers = stub[TransferService]
  transfers.upload(pieces, metadata: metadata(id))
  parts = transfers.download(DownloadRequest.new(remotefilename: '/file'), metadata: metadata(id))
  raise 'the file has changed' unless parts.map(&:chunk).join == CONTENT

  puts 'received the same 8 MiB'

  begin
    stub[FileService].cat(CatRequest.new(path: '/missing'), metadata: metadata(id))
  rescue GRPC::BadStatus => e
    puts "cat /missing: #{reason_of(e)}"
  end

  begin
    wanted = DownloadRequest.new(remotefilename: '/dev/sda')
    download = transfers.download(wanted, metadata: metadata(id), return_op: true)
    download.execute.each { download.cancel }
  rescue GRPC::Cancelled
    puts 'cancelled a download'
  end
ensure
  sessions.delete_session(DeleteSessionRequest.new, metadata: metadata(id))
  puts 'deleted'
end
