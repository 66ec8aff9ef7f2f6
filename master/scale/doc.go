// Package scale is the proof that one master and one Redis carry a thousand
// workers: its tests start a real redis-server, a master in a process of its own,
// and 10, 100 and then 1,000 members that report as much as busy workers do, and
// measure what that costs and whether the master keeps up. Nothing imports it,
// and no code under test knows of it.
//
// # The run
//
// Master and members are the test binary, run again: the master is master.Run with
// the live table, the members are coord.Member, each with a Redis client of its
// own as every worker has. They run no users. Once a second, each at a moment
// of its own, they report 10 operations with 300 samples each, log-normally spread.
// The reports are drawn once, from a seed, with histograms in the form that
// travels, and sent in turn: a thousand workers have more than the one machine for
// that.
//
// # What is judged
//
//	totals      what the members have sent, counts, bytes, error texts and every
//	            bucket, is what the master's summary is made from
//	run         it passes, all members took part, and nothing happened to any part
//	lag         the age of the newest entry that is merged and saved does not
//	            grow over the run, and most of the time is below two seconds
//	master      takes less than one core
//
// Processor time is that of the whole process, by its CPU clock, over a window
// that begins when all members have reported for a while; so it counts what was
// used, and not how busy the machine was otherwise. Yet whoever needs the
// processor must get it: where the members cannot report in time, or anybody falls
// silent, the run fails.
//
// # Running it
//
// go test makes a very short run of a few members and judges the totals alone;
// -short leaves it out. make scale makes the whole one, 1,000 members for five
// minutes, and prints the table. THRONG_SCALE_WORKERS=1000 makes only that step, and with
// THRONG_SCALE_PROFILE=FOLDER CPU profiles are kept.
package scale
