# One image for both roles; the command chooses: `docker run ferryman api`, `docker run ferryman worker`.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/ferryman
# What Ferryman needs, before its own source: a change of code does not install it all again.
COPY constraints.txt pyproject.toml LICENSE ./
# With `--build-arg EXTRAS="api worker otel"` it makes spans (docs/tracing.md).
ARG EXTRAS="api worker"
RUN python -c "import os, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
      extras = [p['optional-dependencies'][name] for name in os.environ['EXTRAS'].split()]; \
      print(*p['dependencies'], *sum(extras, []), sep='\n')" > needs.txt \
 && pip --python /opt/ferryman/bin/python install --no-cache-dir -c constraints.txt -r needs.txt
COPY shared shared
COPY worker worker
COPY api api
RUN pip --python /opt/ferryman/bin/python install --no-cache-dir --no-deps .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Ferryman" \
      org.opencontainers.image.description="A job service on Redis" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 ferryman \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin ferryman \
 && install -d -o ferryman -g ferryman /data
COPY --from=build /opt/ferryman /opt/ferryman
COPY deploy/health.py /opt/ferryman/bin/ferryman-health
# Nothing is written outside /data and the temporary folder, so the rest may be read-only.
ENV PATH=/opt/ferryman/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FERRYMAN_HOST=0.0.0.0 \
    FERRYMAN_DATA=/data \
    FERRYMAN_FILES=/data/files
WORKDIR /data
USER 10001:10001
EXPOSE 8081
# To the program itself: the entry point is no shell.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 CMD ["ferryman-health"]
ENTRYPOINT ["ferryman"]
CMD ["api"]
