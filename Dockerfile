# The image holds one static binary and two directories.
#
#   docker build -t weir .
#   docker run -p 8080:8080 -v "$PWD/weir.yaml:/etc/weir/weir.yaml:ro" weir
#
# Weir keeps its versions in /etc/weir/.weir, beside the configuration, unless
# history.dir says otherwise. To keep them when the container is replaced, write
# `history: {dir: /var/lib/weir}` and mount a volume there.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o image/weir ./cmd/weir
# Copied with their owner, for an empty image has no shell to make them in.
RUN mkdir -p image/state/etc/weir image/state/var/lib/weir && \
    echo 'weir:x:65532:65532::/var/lib/weir:/weir' > image/passwd

FROM scratch
COPY --from=build /src/image/passwd /etc/passwd
COPY --from=build --chown=65532:65532 /src/image/state/ /
COPY --from=build /src/image/weir /weir
USER 65532:65532
WORKDIR /etc/weir
EXPOSE 8080 9900
VOLUME /var/lib/weir
STOPSIGNAL SIGTERM
# -c: the admin API is where the configuration says.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["/weir", "status", "-c", "/etc/weir/weir.yaml"]
ENTRYPOINT ["/weir"]
CMD ["run", "-c", "/etc/weir/weir.yaml"]
