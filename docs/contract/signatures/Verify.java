import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Verifies signed records of Tidewatch: java Verify.java vectors.tsv keys/ (Java 17, no library). */
public final class Verify {
    private static final List<String> SIGNED = List.of("ce_id", "ce_type", "ce_tenantid", "ce_time");

    /** Returns the id of the key that signed a record; throws if none of the ring did. */
    static String verify(Map<String, byte[]> headers, byte[] value, Map<String, byte[]> ring, long timestampMs)
            throws Exception {
        String[] parts = new String(headers.getOrDefault("ce_signature", new byte[0]), StandardCharsets.US_ASCII)
                .split(";", -1);
        if (parts.length != 3 || !parts[0].equals("ed25519") || !parts[1].startsWith("kid="))
            throw new IllegalArgumentException("not signed");
        byte[] key = ring.get(parts[1].substring(4));
        if (key == null || !headers.keySet().containsAll(SIGNED))
            throw new IllegalArgumentException("not signed by a key of the ring");
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream signed = new DataOutputStream(bytes);
        for (String name : SIGNED) {
            signed.writeInt(headers.get(name).length);
            signed.write(headers.get(name));
        }
        signed.writeInt(value.length);
        signed.write(value);
        Signature verifier = Signature.getInstance("Ed25519");
        verifier.initVerify(KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(key)));
        verifier.update(bytes.toByteArray());
        if (!verifier.verify(Base64.getDecoder().decode(parts[2])))
            throw new IllegalArgumentException("the signature does not match the record");
        Instant made = OffsetDateTime.parse(new String(headers.get("ce_time"), StandardCharsets.US_ASCII)).toInstant();
        if (Duration.between(made, Instant.ofEpochMilli(timestampMs)).abs().compareTo(Duration.ofDays(7)) > 0)
            throw new IllegalArgumentException("outside the replay window");
        return parts[1].substring(4);
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, byte[]> ring = new HashMap<>();
        try (var keys = Files.newDirectoryStream(Path.of(arguments[1]), "*.pem")) {
            for (Path path : keys) {
                String pem = Files.readString(path).replaceAll("-----[A-Z ]+-----|\\s", "");
                ring.put(path.getFileName().toString().replace(".pem", ""), Base64.getDecoder().decode(pem));
            }
        }
        List<String> lines = Files.readAllLines(Path.of(arguments[0]), StandardCharsets.UTF_8);
        String[] names = lines.get(0).split("\t", -1);
        for (String line : lines.subList(1, lines.size())) {
            String[] cells = line.split("\t", -1);
            Map<String, String> row = new HashMap<>();
            Map<String, byte[]> headers = new HashMap<>();
            for (int at = 0; at < names.length; at++) {
                row.put(names[at], cells[at]);
                if (names[at].startsWith("ce_") && !cells[at].isEmpty())
                    headers.put(names[at], cells[at].getBytes(StandardCharsets.UTF_8));
            }
            String found;
            try {
                found = verify(headers, Base64.getDecoder().decode(row.get("value")), ring,
                        Long.parseLong(row.get("timestamp_ms")));
            } catch (Exception error) {
                found = "refused";
            }
            System.out.println(row.get("name") + "\t" + found);
        }
    }
}
