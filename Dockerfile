# The service in an image of its own binary, the CA certificates, and one empty
# directory it may write to: no shell, no package, no user but a number.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t tokensvc .

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src

# Apart from the sources, so that a change to them fetches no modules again.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
# The same flags as `make build`.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/tokensvc ./cmd/tokensvc \
 && mkdir /out/data

FROM scratch
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="tokensvc" \
      org.opencontainers.image.description="Telnyx login tokens for softphones, without the API key leaving the server" \
      org.opencontainers.image.source="https://github.com/tokensvc/tokensvc" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# The embedded directory of users lives here unless told otherwise; mount a
# volume to keep it.
COPY --from=build --chown=65532:65532 /out/data /var/lib/tokensvc
COPY --from=build /out/tokensvc /tokensvc

# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/tokensvc

# Inside a container, loopback would reach nobody. The ops port answers anyone
# who can reach it: publish the first, keep the second to your network.
ENV TOKENSVC_LISTEN=:8080 \
    TOKENSVC_OPS_LISTEN=:9090
EXPOSE 8080 9090

# OCI images have no health check: buildah and podman want --format docker here.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/tokensvc", "healthcheck"]
ENTRYPOINT ["/tokensvc"]
CMD ["serve"]
