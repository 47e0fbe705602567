# The driver's image, for linux/amd64 and linux/arm64:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=… --build-arg REVISION=… -t … .
#
# Nothing is emulated: the first stage runs on the builder's own processor and puts the root file system of
# the other together (cmd/rds-image, which has the list of what is in it, and makes the same image as an OCI
# archive where no container engine runs).
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
ARG TARGETARCH VERSION=dev REVISION=
WORKDIR /source
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY pkg pkg
COPY telemetry telemetry
RUN go run ./cmd/rds-image --arch "$TARGETARCH" --version "$VERSION" --revision "$REVISION" --root /root-file-system

FROM scratch
ARG VERSION=dev REVISION= CREATED=1970-01-01T00:00:00Z
COPY --from=build /root-file-system /
ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin
# The controller needs no rights. The node's container says runAsUser: 0.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/usr/bin/rds-csi-plugin"]
LABEL org.opencontainers.image.title="rds-csi-driver" \
      org.opencontainers.image.description="CSI driver for NVMe/TCP volumes on MikroTik storage servers" \
      org.opencontainers.image.source="https://git.srvlab.io/whiskey/rds-csi-driver" \
      org.opencontainers.image.documentation="https://git.srvlab.io/whiskey/rds-csi-driver" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
