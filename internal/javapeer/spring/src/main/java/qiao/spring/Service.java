package qiao.spring;

import java.io.PrintStream;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.servlet.context.ServletWebServerApplicationContext;
import org.springframework.cloud.openfeign.EnableFeignClients;
import org.springframework.context.annotation.Bean;
import org.springframework.web.client.RestTemplate;

/**
 * A bank as people write one with Spring Boot and Seata's starter. It knows nothing of the coordinator that it is
 * pointed at. Once it serves, it writes its port to standard output; it ends at the end of its input.
 */
@SpringBootApplication
@EnableFeignClients
public class Service {
    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err); // where the logs belong
        var context = (ServletWebServerApplicationContext) SpringApplication.run(Service.class, args);
        answers.println("{\"ready\":true,\"port\":" + context.getWebServer().getPort() + "}");
        answers.flush();
        while (System.in.read() != -1) {
            // nothing is said to it there
        }
        System.exit(SpringApplication.exit(context));
    }

    @Bean
    RestTemplate restTemplate() {
        return new RestTemplate();
    }
}
