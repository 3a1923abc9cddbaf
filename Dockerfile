# One image for all services; the command selects the service: `docker run enlace python -m services.partners serve`.
# The default command starts the gateway. The image runs as non-root and writes nothing: use a read-only root file system (deploy/k8s does).

FROM python:3.13-slim AS libraries
COPY requirements/run.txt requirements/pkcs11.txt chassis/languages.py ./
# For sealing keys in a key service (docs/operations.md): docker build --build-arg KEY_SERVICE=1
ARG KEY_SERVICE=
# Only wheels, each with its hash: nothing is built, and no unknown file is installed.
RUN python -m venv --without-pip /opt/libraries \
 && python -m pip --python /opt/libraries/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r run.txt ${KEY_SERVICE:+-r pkcs11.txt}
# Babel has data of a thousand languages and regions (31 MB); only those of the table of languages stay.
RUN read=$(python -c 'import languages; print(*languages.LANGUAGES, sep="\\|")') \
 && find /opt/libraries/lib/python3.*/site-packages/babel/locale-data -name '*.dat' ! -regex ".*/\(root\|$read\)\(_.*\)?\.dat" -delete

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Enlace" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=libraries /opt/libraries /opt/libraries
# With an arena of memory for each of its threads, as glibc gives them, a service takes 4 MB more.
ENV PATH=/opt/libraries/bin:$PATH \
    MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1
WORKDIR /enlace
COPY LICENSE NOTICE ./
COPY chassis chassis
COPY keys keys
COPY facts facts
COPY trail trail
COPY runtime runtime
COPY protos protos
COPY services services
COPY demo demo
# The guide, which the gateway serves (protos/README.md is copied above).
COPY docs/api.md docs/quickstart.md docs/grpc.md docs/codes.md docs/rights.md docs/versioning.md docs/api_changelog.md docs/openapi.json docs/
# Compiled here, because bytecode can't be written to a read-only root file system later.
RUN python -m compileall -q chassis keys facts trail runtime protos services demo
USER 10001:10001
CMD ["python", "-m", "services.gateway", "serve"]
