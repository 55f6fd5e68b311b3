FROM golang:1.26 AS build
WORKDIR /src
COPY . .
RUN make build

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/fairlead /fairlead
USER 65532:65532
ENTRYPOINT ["/fairlead"]
