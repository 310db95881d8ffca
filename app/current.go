package app

import "sync"

// current is the graph that requests are served by.
type current struct {
	mu    sync.RWMutex
	graph *Graph
}

// enter returns the graph for one request, which has to call requests.Done.
func (c *current) enter() *Graph {
	c.mu.RLock()
	defer c.mu.RUnlock()
	c.graph.requests.Add(1)
	return c.graph
}

// get returns the graph for a look.
func (c *current) get() *Graph {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.graph
}

// swap puts another graph in place, in one step: every request is served by the
// one or by the other.
func (c *current) swap(next *Graph) (earlier *Graph) {
	c.mu.Lock()
	defer c.mu.Unlock()
	earlier, c.graph = c.graph, next
	return earlier
}
