// Package upstream asks resolvers.
package upstream
