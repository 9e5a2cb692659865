import java.io.*;
import java.nio.file.*;

/** Reads an exception as Seata's ExceptionSerializer does, and writes some. */
public class Errors {
    static class Booking extends IllegalStateException {
        Booking(String message, Throwable cause) { super(message, cause); }
    }

    public static void main(String[] args) throws Exception {
        try (ObjectInputStream in = new ObjectInputStream(new FileInputStream(args[0]))) {
            Exception e = (Exception) in.readObject();
            PrintStream out = new PrintStream(System.out, true, "UTF-8");
            out.println(e.getClass().getName());
            out.println(e.getMessage());
            for (StackTraceElement f : e.getStackTrace()) out.println(f.getClassName());
            e.printStackTrace(new PrintStream(new ByteArrayOutputStream()));
        }
        write(args[1], new RuntimeException("plain"));
        write(args[2], new Booking("no seat 桥", new java.net.ConnectException("refused")));
        write(args[3], new RuntimeException((String) null));
    }

    static void write(String file, Exception e) throws IOException {
        try (ObjectOutputStream out = new ObjectOutputStream(new FileOutputStream(file))) {
            out.writeObject(e);
        }
    }
}
