# The service in an image of its own binary and the CA certificates: no shell, no
# package, no user but a number, and one folder to write to, for the database of
# people if that is in a file.
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
# The same flags as `make build`, and other defaults. Inside a container loopback
# would reach nobody, and only a volume lasts. They are no variables, which would
# overrule a configuration file. The ops port answers anyone who can reach it:
# publish the first, keep the second to your network.
RUN mkdir -p /out/data && CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION \
        -X main.defaultListen=:8080 -X main.defaultOpsListen=:9090 \
        -X main.defaultDirectory=sqlite:/var/lib/tokensvc/tokensvc.db" -o /out/tokensvc ./cmd/tokensvc
# Made by the copy of the folder itself, they would be its owner's.
RUN mkdir -p /out/parents/var/lib

FROM scratch
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="tokensvc" \
      org.opencontainers.image.description="Telnyx login tokens for softphones, without the API key leaving the server" \
      org.opencontainers.image.source="https://github.com/tokensvc/tokensvc" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/tokensvc /tokensvc
COPY --from=build /out/parents/ /
COPY --from=build --chown=65532:65532 /out/data /var/lib/tokensvc

# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
VOLUME /var/lib/tokensvc
EXPOSE 8080 9090

# Unhealthy while not ready, as long as no issuer's keys can be had; Docker shows
# that, and restarts nothing. OCI images have no health check:
# buildah and podman want --format docker here.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/tokensvc", "healthcheck"]
ENTRYPOINT ["/tokensvc"]
CMD ["serve"]
