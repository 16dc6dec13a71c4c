package example;

import com.google.protobuf.ByteString;
import com.google.rpc.ErrorInfo;
import com.guestfs.v1.*;
import io.grpc.*;
import io.grpc.protobuf.StatusProto;
import java.util.UUID;

/**
 * From an empty disk to a file on it and back. With the stubs that protoc and protoc-gen-grpc-java make, from the root of
 * the project:
 *
 * <pre>
 * npx buf generate --template proto/buf.gen.java.yaml -o examples/java/src/main/java
 * mvn -q -f examples/java/pom.xml package dependency:copy-dependencies
 * java -cp 'examples/java/target/classes:examples/java/target/dependency/*' example.Drive [ADDRESS]
 * </pre>
 */
public final class Drive {
  private static final int MIB = 1 << 20;

  /** Names the session of each call, and gives it a request ID: a call that is repeated with it is made once. */
  private record Naming(String session) implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      return new ForwardingClientCall.SimpleForwardingClientCall<>(next.newCall(method, options)) {
        @Override
        public void start(Listener<A> listener, Metadata headers) {
          headers.put(key("guestfs-request-id"), UUID.randomUUID().toString());
          if (session != null) headers.put(key("guestfs-session"), session);
          super.start(listener, headers);
        }
      };
    }

    private static Metadata.Key<String> key(String name) {
      return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
    }
  }

  private static ByteString content() {
    byte[] content = new byte[8 * MIB];
    for (int i = 0; i < content.length; i++) content[i] = (byte) (i / MIB + 1);
    return ByteString.copyFrom(content);
  }

  /** The reason of an error, such as ENOENT: a proxy's error has none. */
  private static String reasonOf(StatusException error) throws Exception {
    for (var detail : StatusProto.fromThrowable(error).getDetailsList())
      if (detail.is(ErrorInfo.class)) return detail.unpack(ErrorInfo.class).getReason();
    throw error;
  }

  private static void use(Channel session) throws Exception {
    PartitionServiceGrpc.newBlockingV2Stub(session)
        .partDisk(PartDiskRequest.newBuilder().setDevice("/dev/sda").setParttype("gpt").build());
    FilesystemServiceGrpc.newBlockingV2Stub(session)
        .mkfs(MkfsRequest.newBuilder().setFstype("ext4").setDevice("/dev/sda1").build());
    MountServiceGrpc.newBlockingV2Stub(session)
        .mount(MountRequest.newBuilder().setMountable("/dev/sda1").setMountpoint("/").build());

    var content = content();
    var transfers = TransferServiceGrpc.newBlockingV2Stub(session);
    var upload = transfers.upload();
    var arguments = UploadArguments.newBuilder().setRemotefilename("/file");
    upload.write(UploadRequest.newBuilder().setArguments(arguments).build());
    for (int sent = 0; sent < content.size(); sent += MIB) {
      // Returns when the service accepts it; false: the upload has failed, and read() says why.
      if (!upload.write(UploadRequest.newBuilder().setChunk(content.substring(sent, sent + MIB)).build())) break;
      System.out.printf("sent %d of 8 MiB%n", sent / MIB + 1);
    }
    upload.halfClose();
    upload.read();

    var download = transfers.download(DownloadRequest.newBuilder().setRemotefilename("/file").build());
    var received = ByteString.EMPTY;
    for (var part = download.read(); part != null; part = download.read()) received = received.concat(part.getChunk());
    if (!received.equals(content)) throw new IllegalStateException("the file has changed");
    System.out.println("received the same 8 MiB");

    try {
      FileServiceGrpc.newBlockingV2Stub(session).cat(CatRequest.newBuilder().setPath("/missing").build());
    } catch (StatusException error) {
      System.out.println("cat /missing: " + reasonOf(error));
    }

    var endless = transfers.download(DownloadRequest.newBuilder().setRemotefilename("/dev/sda").build());
    try {
      while (endless.read() != null) endless.cancel("enough", null);
    } catch (StatusException error) {
      if (error.getStatus().getCode() != Status.Code.CANCELLED) throw error;
      System.out.println("cancelled a download");
    }
  }

  public static void main(String[] args) throws Exception {
    var address = args.length > 0 ? args[0] : "127.0.0.1:50051";
    var channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
    try {
      var sessions = SessionServiceGrpc.newBlockingV2Stub(ClientInterceptors.intercept(channel, new Naming(null)));
      var drive = DriveSpec.newBuilder().setScratchSize(64 * MIB).setWritable(true);
      var id = sessions.createSession(CreateSessionRequest.newBuilder().addDrives(drive).setLaunch(true).build()).getId();
      System.out.println("launched");
      var session = ClientInterceptors.intercept(channel, new Naming(id));
      try {
        use(session);
      } finally {
        SessionServiceGrpc.newBlockingV2Stub(session).deleteSession(DeleteSessionRequest.getDefaultInstance());
        System.out.println("deleted");
      }
    } finally {
      channel.shutdown();
    }
  }
}
