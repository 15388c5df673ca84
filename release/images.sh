#!/bin/sh
# The images of this project, for `.gitlab-ci.yml`: `images.sh build` before the tests, `images.sh publish` on a tag.
# Built once and named after the commit; a release only gives the tested image its version, and signs it.
set -eu

targets="deploy training training-sdk2"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' ci_scripts/__init__.py)

build() {
  for target in $targets; do
    docker buildx build . --target "$target" --tag "$CI_REGISTRY_IMAGE/$target:$CI_COMMIT_SHA" \
      --build-arg PYTHON_IMAGE="$PYTHON_IMAGE" --build-arg VERSION="$version" \
      --build-arg REVISION="$CI_COMMIT_SHA" --build-arg SOURCE="$CI_PROJECT_URL" \
      --sbom=true --provenance=mode=max --push
  done
}

publish() {
  for target in $targets; do
    image="$CI_REGISTRY_IMAGE/$target"
    digest=$(docker buildx imagetools inspect "$image:$CI_COMMIT_SHA" --format '{{ .Manifest.Digest }}')
    docker buildx imagetools create --tag "$image:$CI_COMMIT_TAG" "$image@$digest"
    if [ "$SIGN_RELEASES" = true ]; then
      # The digest and not the tag, which somebody could move in between.
      cosign sign --yes ${COSIGN_PRIVATE_KEY:+--key env://COSIGN_PRIVATE_KEY} "$image@$digest"
    fi
    echo "$image:$CI_COMMIT_TAG is $digest"
  done
}

"$1"
