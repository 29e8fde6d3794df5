package opkit

// Direct is for operations to embed that have a fast algorithm with roundings of its own beside their definition.
type Direct struct{ direct bool }

func (d *Direct) setDirect() { d.direct = true }

// SetDirect makes an operation that embeds a Direct compute by its definition from now on. Others are left alone.
func SetDirect(op any) {
	if d, ok := op.(interface{ setDirect() }); ok {
		d.setDirect()
	}
}

// IsDirect says whether the operation computes by its definition.
func IsDirect(d *Direct) bool { return d.direct }
