package strictyaml

import "gopkg.in/yaml.v3"

// maxAliased bounds the values that all aliases of a file stand for together.
// A dozen lines of aliases to aliases can otherwise stand for billions.
const maxAliased = 100_000

// boundAliases reports a file whose aliases stand for too much, or for
// themselves.
func boundAliases(root Value) bool {
	c := aliasCounter{sizes: map[*yaml.Node]int{}, open: map[*yaml.Node]bool{}}
	c.size(root.node)
	at := root
	switch {
	case c.loop != nil:
		at.node = c.loop
		at.Errorf("alias *%s stands inside the value that it stands for", c.loop.Value)
	case c.aliased > maxAliased:
		root.problems.Errorf(Position{File: root.file}, "the aliases of this file stand for more than %d values: write fewer of them", maxAliased)
	default:
		return true
	}
	return false
}

// aliasCounter measures what a document would be with its aliases written out.
type aliasCounter struct {
	sizes   map[*yaml.Node]int  // of alias targets already measured
	open    map[*yaml.Node]bool // alias targets being measured
	aliased int                 // values that stand behind aliases, saturating
	loop    *yaml.Node          // an alias inside its own target
}

// size counts the values in n, aliases written out. It stops growing above
// maxAliased, so that it cannot overflow.
func (c *aliasCounter) size(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		return c.target(n)
	}
	anchored := n.Anchor != ""
	if anchored {
		c.open[n] = true
	}
	total := 1
	for _, child := range n.Content {
		total = min(total+c.size(child), maxAliased+1)
	}
	if anchored {
		delete(c.open, n)
		c.sizes[n] = total
	}
	return total
}

// target counts what an alias stands for. Its anchor stands above it in the
// file, so it has been measured already, or is being measured: a loop.
func (c *aliasCounter) target(alias *yaml.Node) int {
	if c.open[alias.Alias] {
		c.loop = alias
		return 1
	}
	size := c.sizes[alias.Alias]
	c.aliased = min(c.aliased+size, maxAliased+1)
	return size
}
