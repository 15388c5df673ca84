#!/bin/sh
# The images of this project, for `.gitlab-ci.yml`: `images.sh build` before the tests, `images.sh publish` on a tag.
# Built once for a pipeline and named after it; images.txt keeps their digests, and these alone a release publishes.
set -eu

targets="deploy training-sdk-v3 training-sdk-v2 image-build"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' ci_scripts/__init__.py)

build() {
  rm -f images.txt
  for target in $targets; do
    docker buildx build . --target "$target" --tag "$CI_REGISTRY_IMAGE/$target:$CI_PIPELINE_ID" \
      --build-arg PYTHON_IMAGE="$PYTHON_IMAGE" --build-arg VERSION="$version" \
      --build-arg REVISION="$CI_COMMIT_SHA" --build-arg SOURCE="$CI_PROJECT_URL" \
      --sbom=true --provenance=mode=max --metadata-file metadata.json --push
    digest=$(sed -n 's/.*"containerimage\.digest": *"\([^"]*\)".*/\1/p' metadata.json)
    echo "$CI_REGISTRY_IMAGE/$target@${digest:?}" | tee -a images.txt
  done
}

publish() {
  for image in $(cat images.txt); do
    docker buildx imagetools create --tag "${image%@*}:$CI_COMMIT_TAG" "$image"
  done
}

"$1"
