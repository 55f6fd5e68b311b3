package dev.fairlead.interop;

import java.io.IOException;
import java.util.List;
import java.util.Locale;
import org.springframework.web.socket.BinaryMessage;
import org.springframework.web.socket.CloseStatus;
import org.springframework.web.socket.SubProtocolCapable;
import org.springframework.web.socket.TextMessage;
import org.springframework.web.socket.WebSocketSession;
import org.springframework.web.socket.handler.AbstractWebSocketHandler;

/** Answers a text with its upper case, a binary message with itself, and BYE with BYE and Close 1000. */
class UppercaseHandler extends AbstractWebSocketHandler implements SubProtocolCapable {
    @Override
    public List<String> getSubProtocols() {
        return List.of("v12.stomp");
    }

    @Override
    protected void handleTextMessage(WebSocketSession session, TextMessage message) throws IOException {
        String answer = message.getPayload().toUpperCase(Locale.ROOT);
        session.sendMessage(new TextMessage(answer));
        if (answer.equals("BYE")) {
            session.close(CloseStatus.NORMAL);
        }
    }

    @Override
    protected void handleBinaryMessage(WebSocketSession session, BinaryMessage message) throws IOException {
        session.sendMessage(new BinaryMessage(message.getPayload()));
    }
}
