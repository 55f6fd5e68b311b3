import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.io.ByteArrayInputStream;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.Random;
import java.util.concurrent.CompletableFuture;

/**
 * Java's HttpClient through the gateway, over HTTP/1.1 and, with TLS, HTTP/2. Run by http_clients_test.go with BASE in the
 * environment and the authority as javax.net.ssl.trustStore; ends with an exception where an answer is not what it must be.
 */
public class Client {
    public static void main(String[] args) throws Exception {
        for (var version : HttpClient.Version.values()) {
            converse(System.getenv("BASE") + "/web/api/v1", HttpClient.newBuilder().version(version).connectTimeout(Duration.ofSeconds(60)).build(), version);
        }
    }

    static void converse(String base, HttpClient client, HttpClient.Version version) throws Exception {
        byte[] data = new byte[1 << 20];
        new Random(1).nextBytes(data);
        String sum = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));

        for (int n = 0; n < 50; n++) {
            var got = client.send(request(base + "/bytes/" + n * 997).build(), BodyHandlers.ofByteArray());
            expect(got.body().length == n * 997, "length " + got.body().length + " of " + n * 997);
            expect(!base.startsWith("https") || got.version() == version, got.version() + ", not " + version);
        }
        // A stream has no length: chunked, or DATA frames.
        var stream = request(base + "/echo").POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(data))).build();
        expect(client.send(stream, BodyHandlers.ofString()).body().contains(sum), "the service got something else: stream");
        var continued = request(base + "/echo").expectContinue(true).POST(BodyPublishers.ofByteArray(data)).build();
        expect(client.send(continued, BodyHandlers.ofString()).body().contains(sum), "the service got something else: 100-continue");
        var head = client.send(request(base + "/bytes/5").method("HEAD", BodyPublishers.noBody()).build(), BodyHandlers.ofString());
        expect(head.statusCode() == 200 && head.body().isEmpty(), "HEAD: " + head);

        var all = new ArrayList<CompletableFuture<Void>>();
        for (int n = 0; n < 100; n++) {
            int size = n * 3001;
            all.add(client.sendAsync(request(base + "/bytes/" + size).build(), BodyHandlers.ofByteArray())
                .thenAccept(got -> expect(got.body().length == size, "length " + got.body().length + " of " + size)));
        }
        CompletableFuture.allOf(all.toArray(CompletableFuture[]::new)).join();
    }

    static HttpRequest.Builder request(String url) {
        return HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(60));
    }

    static void expect(boolean right, String what) {
        if (!right) {
            throw new AssertionError(what);
        }
    }
}
