package dev.fairlead.interop;

import java.util.List;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.context.annotation.Configuration;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.socket.config.annotation.EnableWebSocket;
import org.springframework.web.socket.config.annotation.WebSocketConfigurer;
import org.springframework.web.socket.config.annotation.WebSocketHandlerRegistry;

/** A Spring Boot service that registers with Eureka and serves two WebSockets. It knows nothing of Fairlead. */
@SpringBootApplication
public class DiscoverableClient {
    public static void main(String[] args) {
        SpringApplication.run(DiscoverableClient.class, args);
    }

    @Configuration
    @EnableWebSocket
    static class Sockets implements WebSocketConfigurer {
        @Override
        public void registerWebSocketHandlers(WebSocketHandlerRegistry registry) {
            registry.addHandler(new UppercaseHandler(), "/ws/uppercase")
                    .addInterceptors(new BasicAuthentication("user", "pass"))
                    .setAllowedOrigins("*");
            registry.addHandler(new HeaderHandler(), "/ws/header").setAllowedOrigins("*");
        }
    }

    /** What the Eureka client has read from the registry, so that a test can see that it was understood. */
    @RestController
    static class Discovered {
        private final DiscoveryClient discovery;

        Discovered(DiscoveryClient discovery) {
            this.discovery = discovery;
        }

        record Instance(String id, String host, int port, boolean secure, String route) {
            static Instance of(ServiceInstance from) {
                return new Instance(
                        from.getInstanceId(),
                        from.getHost(),
                        from.getPort(),
                        from.isSecure(),
                        from.getMetadata().get("apiml.routes.ws_v1.serviceUrl"));
            }
        }

        @GetMapping("/api/v1/instances/{serviceId}")
        List<Instance> instances(@PathVariable String serviceId) {
            return discovery.getInstances(serviceId).stream().map(Instance::of).toList();
        }
    }
}
