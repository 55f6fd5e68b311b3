package dev.fairlead.interop;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;

/** Spring Cloud's Netflix Eureka server, as people run it. */
@SpringBootApplication
@EnableEurekaServer
public class SpringRegistry {
  public static void main(String[] args) {
    SpringApplication.run(SpringRegistry.class, args);
  }
}
