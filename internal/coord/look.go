package coord

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Look returns who is in a swarm, for somebody who neither leads nor joins it. An
// empty namespace means keyspace.Namespace.
func Look(ctx context.Context, client redis.UniversalClient, namespace, swarm string) ([]Present, error) {
	onlooker := &Leader{cfg: LeaderConfig{Redis: client, Namespace: namespace, Swarm: swarm}, keys: newKeys(namespace, swarm)}
	roll, err := onlooker.Roll(ctx)
	return roll.Members, err
}
