//go:build !race

package hessian_test

// sampleEvery: all damaged frames are tried; the race detector's build, many
// times slower, takes a sample.
const sampleEvery = 1
