package image

import (
	"slices"
	"unicode/utf16"
)

// javaOrder puts the columns of a key into the order in which Java's clients
// write them into a lock key. They walk over a HashMap of the columns' names
// (TableMeta.getPrimaryKeyMap), so the order is that of the names' places in
// the map: neither the key's nor the table's. In another order, services in Go
// and Java would not see each other's locks on tables with composite keys.
func javaOrder(key []Field) []Field {
	if len(key) < 2 {
		return key
	}
	ordered := slices.Clone(key) // in the order of insertion, which stays within a place
	places := uint32(16)
	for len(key) > int(places/4*3) {
		places *= 2 // the map grows when it is three quarters full
	}
	slices.SortStableFunc(ordered, func(a, b Field) int {
		return int(place(a.Name, places)) - int(place(b.Name, places))
	})
	return ordered
}

// place is where Java's HashMap of so many places has a name.
func place(name string, places uint32) uint32 {
	h := uint32(0)
	for _, unit := range utf16.Encode([]rune(name)) {
		h = 31*h + uint32(unit) // String.hashCode
	}
	return (h ^ h>>16) & (places - 1)
}
