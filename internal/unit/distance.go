package unit

// maxGuessed bounds the length of a name that is compared, in bytes.
const maxGuessed = 60

// Distance is the number of letters to change, add or remove between a, which a user wrote, and b, which may have been meant. A
// name of more than 60 bytes is far from all.
func Distance(a, b string) int {
	if len(a) > maxGuessed {
		return maxGuessed
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
