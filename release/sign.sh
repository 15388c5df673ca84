#!/bin/sh
# Signs a release, for `.gitlab-ci.yml`: every file of dist/, and by digest the images that the pipeline has tested.
# Keyless it names this project and tag in Sigstore's public log; with COSIGN_PRIVATE_KEY nobody outside is asked.
set -eu

if [ -n "${COSIGN_PRIVATE_KEY:-}" ]; then
  cosign signing-config create --out signing-config.json # which names no service
  set -- --key env://COSIGN_PRIVATE_KEY --signing-config signing-config.json
fi
for file in dist/*; do
  cosign sign-blob --yes "$@" --bundle "$file.sigstore.json" "$file"
done
if [ -f images.txt ]; then
  echo "$CI_REGISTRY_PASSWORD" | cosign login --username "$CI_REGISTRY_USER" --password-stdin "$CI_REGISTRY"
  for image in $(cat images.txt); do
    cosign sign --yes "$@" "$image"
  done
fi
