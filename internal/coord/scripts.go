package coord

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// One variable per script; the one method that runs it converts its answer.
// KEYS, ARGV and answers stand at the head of each file.
var (
	//go:embed lua/campaign.lua
	campaignLua    string
	campaignScript = redis.NewScript(campaignLua)

	//go:embed lua/resign.lua
	resignLua    string
	resignScript = redis.NewScript(resignLua)

	//go:embed lua/begin.lua
	beginLua    string
	beginScript = redis.NewScript(beginLua)

	//go:embed lua/publish.lua
	publishLua    string
	publishScript = redis.NewScript(publishLua)

	//go:embed lua/assign.lua
	assignLua    string
	assignScript = redis.NewScript(assignLua)

	//go:embed lua/beat.lua
	beatLua    string
	beatScript = redis.NewScript(beatLua)

	//go:embed lua/leave.lua
	leaveLua    string
	leaveScript = redis.NewScript(leaveLua)

	//go:embed lua/remove.lua
	removeLua    string
	removeScript = redis.NewScript(removeLua)

	//go:embed lua/roll.lua
	rollLua    string
	rollScript = redis.NewScript(rollLua)

	//go:embed lua/save.lua
	saveLua    string
	saveScript = redis.NewScript(saveLua)

	//go:embed lua/numbers.lua
	numbersLua    string
	numbersScript = redis.NewScript(numbersLua)

	//go:embed lua/reclaim.lua
	reclaimLua    string
	reclaimScript = redis.NewScript(reclaimLua)

	//go:embed lua/tail.lua
	tailLua    string
	tailScript = redis.NewScript(tailLua)

	//go:embed lua/rank.lua
	rankLua    string
	rankScript = redis.NewScript(rankLua)
)
