package qiao.dubbo;

import com.alibaba.fastjson.JSON;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.dubbo.config.spring.context.annotation.EnableDubbo;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/**
 * A bank as people write one with Dubbo, Spring Boot and Seata's starter, which a test drives: it reads one JSON
 * command a line from standard input and writes one JSON answer a line to standard output.
 */
@SpringBootApplication
@EnableDubbo
public class Service {
    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err); // libraries must not write between the answers
        var context = SpringApplication.run(Service.class, args);
        Commands commands = context.getBean(Commands.class);
        out.println("{\"ready\":true}");
        out.flush();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            out.println(commands.answer(JSON.parseObject(line)).toJSONString());
            out.flush();
        }
        System.exit(SpringApplication.exit(context));
    }
}
