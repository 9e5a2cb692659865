package qiao;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

import org.apache.seata.core.compressor.CompressorFactory;
import org.apache.seata.core.serializer.Serializer;
import org.apache.seata.serializer.hessian.HessianSerializer;
import org.apache.seata.serializer.protobuf.ProtobufSerializer;
import org.apache.seata.serializer.seata.SeataSerializer;

/**
 * Java Seata's own codecs and compressors over a pipe.
 *
 * A question is an operation, two ids, and a length with that many bytes; an answer is 1, or 0 for a failure,
 * and a length with that many bytes: the result, or the exception. All numbers are big endian.
 *   't' from to: the message of a body in codec "from", as a body in codec "to"
 *   'c' id 0: the bytes, compressed
 *   'd' id 0: the bytes, decompressed
 */
public final class Codecs {
    public static void main(String[] args) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        System.setOut(System.err); // whatever a library prints is no answer
        while (true) {
            int operation = in.read();
            if (operation < 0) {
                return;
            }
            byte from = in.readByte();
            byte to = in.readByte();
            byte[] bytes = new byte[in.readInt()];
            in.readFully(bytes);
            boolean ok = true;
            byte[] result;
            try {
                result = answer(operation, from, to, bytes);
            } catch (Throwable e) {
                ok = false;
                result = describe(e).getBytes(StandardCharsets.UTF_8);
            }
            out.writeByte(ok ? 1 : 0);
            out.writeInt(result.length);
            out.write(result);
            out.flush();
        }
    }

    private static byte[] answer(int operation, byte from, byte to, byte[] bytes) throws IOException {
        switch (operation) {
            case 't':
                Object message = serializer(from).deserialize(bytes);
                if (message == null) {
                    throw new EOFException("the deserializer answered null");
                }
                byte[] body = serializer(to).serialize(message);
                if (body == null) {
                    throw new EOFException("the serializer answered null for " + message);
                }
                return body;
            case 'c':
                return CompressorFactory.getCompressor(from).compress(bytes);
            case 'd':
                return CompressorFactory.getCompressor(from).decompress(bytes);
            default:
                throw new IllegalArgumentException("operation " + operation);
        }
    }

    private static final Serializer SEATA = new SeataSerializer((byte) 1);
    private static final Serializer PROTOBUF = new ProtobufSerializer();
    private static final Serializer HESSIAN = new HessianSerializer();

    private static Serializer serializer(byte id) {
        switch (id) {
            case 1:
                return SEATA;
            case 2:
                return PROTOBUF;
            case 22:
                return HESSIAN;
            default:
                throw new IllegalArgumentException("codec " + id);
        }
    }

    private static String describe(Throwable e) {
        StringBuilder all = new StringBuilder();
        for (; e != null; e = e.getCause()) {
            all.append(all.length() == 0 ? "" : ": ").append(e);
        }
        return all.toString();
    }
}
