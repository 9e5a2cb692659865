//go:build race

package hessian_test

// sampleEvery: of the damaged frames one in so many is tried. It is a prime,
// so that the sample has every kind of damage at every place.
const sampleEvery = 23
