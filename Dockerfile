# The images of the components' jobs, released at the version of the components:
#   deploy           build, staging-deploy, test-staging, prod-deploy
#   training-sdk-v3  the same with the SageMaker SDK
#   training-sdk-v2  the same with version 2 of it, for pipeline modules that were written for that
#   image-build      that of deploy with BuildKit, which builds images without root, and what reads .dockerignore
# None holds git: GitLab Runner checks out with an image of its own, and no command of sagemaker-ci calls it.
# docker build --target deploy --build-arg REVISION=$(git rev-parse HEAD) --tag deploy .

# The base is pinned by version. To pin it by content, or to take it from a mirror, give its digest:
#   --build-arg PYTHON_IMAGE=registry.example.com/python@sha256:…
ARG PYTHON_IMAGE=python:3.13.17-slim-trixie
# BuildKit's own image for work without root, from which its programs come; they are linked statically.
ARG BUILDKIT_IMAGE=moby/buildkit:v0.32.2-rootless

# --- the package: its wheel, and in /install all that an image gets ---------------------------------------------------

FROM ${PYTHON_IMAGE} AS wheel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY requirements/release.txt requirements/
RUN pip install --quiet --require-hashes --requirement requirements/release.txt
COPY pyproject.toml README.md LICENSE.md ./
COPY ci_scripts ci_scripts
RUN python -m hatchling build --target wheel --directory /wheels

FROM ${PYTHON_IMAGE} AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source

FROM packages AS deploy-packages
COPY requirements/deploy.txt requirements/
RUN pip install --quiet --prefix /install --require-hashes --requirement requirements/deploy.txt
COPY --from=wheel /wheels /wheels
RUN pip install --quiet --prefix /install --no-deps --no-index /wheels/*.whl

FROM packages AS training-sdk-v3-packages
COPY requirements/training-sdk-v3.txt requirements/
RUN pip install --quiet --prefix /install --require-hashes --requirement requirements/training-sdk-v3.txt
COPY --from=wheel /wheels /wheels
RUN pip install --quiet --prefix /install --no-deps --no-index /wheels/*.whl

FROM packages AS training-sdk-v2-packages
COPY requirements/training-sdk-v2.txt requirements/
RUN pip install --quiet --prefix /install --require-hashes --requirement requirements/training-sdk-v2.txt
COPY --from=wheel /wheels /wheels
RUN pip install --quiet --prefix /install --no-deps --no-index /wheels/*.whl

FROM packages AS image-build-packages
COPY requirements/image-build.txt requirements/
RUN pip install --quiet --prefix /install --require-hashes --requirement requirements/image-build.txt
COPY --from=wheel /wheels /wheels
RUN pip install --quiet --prefix /install --no-deps --no-index /wheels/*.whl

# --- what the images share --------------------------------------------------------------------------------------------

FROM ${PYTHON_IMAGE} AS base
# The job's user owns nothing but its home; `pip install --user` works there, for packages that a pipeline module imports.
RUN useradd --create-home --uid 1000 --shell /bin/bash ci
ENV PATH=/home/ci/.local/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1
# GitLab Runner starts a shell of its own in the image: nothing may stand before it.
ENTRYPOINT []
CMD ["sagemaker-ci", "--help"]
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="MIT"

FROM ${BUILDKIT_IMAGE} AS buildkit

# What moby/buildkit:rootless has beside its programs: newuidmap and newgidmap, users for them, and its folders.
FROM base AS builder
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates uidmap \
    && rm -rf /var/lib/apt/lists/* \
    && echo ci:100000:65536 > /etc/subuid \
    && cp /etc/subuid /etc/subgid \
    && mkdir -p /run/user/1000 /home/ci/.local/share/buildkit \
    && chown -R ci:ci /run/user/1000 /home/ci
COPY --from=buildkit /usr/bin/buildctl /usr/bin/buildctl-daemonless.sh /usr/bin/buildkitd /usr/bin/buildkit-runc \
     /usr/bin/rootlesskit /usr/bin/
ENV XDG_RUNTIME_DIR=/run/user/1000
# Layers are mounted below it, which a container's own file system does not allow.
VOLUME /home/ci/.local/share/buildkit

# --- the images -------------------------------------------------------------------------------------------------------

FROM base AS training-sdk-v3
LABEL org.opencontainers.image.title="sagemaker-ci training, SDK v3" \
      org.opencontainers.image.description="sagemaker-ci and the SageMaker SDK v3, for the training component"
COPY --from=training-sdk-v3-packages /install /usr/local
USER 1000:1000

FROM base AS training-sdk-v2
LABEL org.opencontainers.image.title="sagemaker-ci training, SDK v2" \
      org.opencontainers.image.description="sagemaker-ci and the SageMaker SDK v2, for the training component"
COPY --from=training-sdk-v2-packages /install /usr/local
USER 1000:1000

FROM builder AS image-build
LABEL org.opencontainers.image.title="sagemaker-ci image-build" \
      org.opencontainers.image.description="sagemaker-ci and BuildKit, for the image-build component"
COPY --from=image-build-packages /install /usr/local
USER 1000:1000

FROM base AS deploy
LABEL org.opencontainers.image.title="sagemaker-ci deploy" \
      org.opencontainers.image.description="sagemaker-ci for the build, deploy and test components"
COPY --from=deploy-packages /install /usr/local
USER 1000:1000
