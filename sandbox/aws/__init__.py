"""AWS on loopback: moto's server plus what moto lacks, each in a small module with an `install()`."""
