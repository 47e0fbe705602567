package rdssim

import (
	"context"
	"slices"
	"strings"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rdssim/script"
)

// command carries out one console command. It runs with the array locked:
// commands are atomic, execs are not.
type command func(call *script.Call) (script.Value, error)

// console is the command tree of one exec on the array.
type console struct {
	array *Array
	// full is the injected fault that the disk has no space.
	full   bool
	rights []string // the policies of who gives the commands
}

func (c console) Kind(path string) script.Kind { return c.array.tree.kinds[path] }

func (c console) HasArgument(command, argument string) bool {
	return c.array.tree.arguments[command][argument]
}

func (c console) HasProperty(menu, name string) bool {
	t := c.array.tables[menu]
	return t != nil && t.has(name)
}

// offers reports whether the release has a property of /disk. Those that can
// be set are gated like the arguments that set them.
func (a *Array) offers(name string) bool {
	_, settable := diskDefaults[name]
	if !settable && !strings.HasPrefix(name, "file-") {
		return true
	}
	return a.tree.arguments["/disk/set"][name]
}

func (c console) AtLeast(major, minor int) bool { return c.array.version.atLeast(major, minor) }

func (c console) Run(ctx context.Context, call *script.Call) (script.Value, error) {
	path := call.Menu + "/" + call.Verb
	run, known := c.array.commands[path]
	if !known {
		return nil, script.Errorf("failure: the simulated array does not carry out %s", path)
	}
	if err := c.array.opts.permitted(c.rights, call); err != nil {
		return nil, err
	}
	if err := checkArguments(call); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.array.mu.Lock()
	defer c.array.mu.Unlock()
	c.array.diskFull = c.full
	return run(call)
}

// understood are the arguments of reading commands that the simulator heeds;
// those of add and set are checked where they are used.
var understood = map[string][]string{
	"print": {"as-value", "brief", "count-only", "detail", "from", "proplist", "show-ids", "show-sensitive", "terse",
		"where", "without-paging"},
	"get":             {"number", "value-name"},
	"monitor-traffic": {"numbers", "once", "without-paging"},
}

// checkArguments refuses an argument that would be passed over in silence.
func checkArguments(call *script.Call) error {
	names, limited := understood[call.Verb]
	for name := range call.Args {
		if limited && !slices.Contains(names, name) {
			return script.Errorf("failure: the simulated array does not know argument %s of %s", name, call.Verb)
		}
	}
	return nil
}

// exec runs the lines of an exec text and returns what it prints, and whether
// its last command failed.
func (a *Array) exec(ctx context.Context, text string, full bool, rights []string) (output string, failed bool) {
	c := console{array: a, full: full, rights: rights}
	var out strings.Builder
	print := func(s string) { out.WriteString(s) }
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.TrimSpace(line) == "" {
			continue
		}
		parsed, err := script.Parse(line, c)
		if err == nil {
			err = parsed.Run(ctx, c, print)
		}
		failed = err != nil
		if ctx.Err() != nil {
			return out.String(), true
		}
		if failed {
			print(err.Error() + eol)
		}
	}
	return out.String(), failed
}

// Run carries out console text as if it had come over SSH from who may do
// everything, without faults and latency, and returns what it prints.
func (a *Array) Run(ctx context.Context, text string) string {
	output, _ := a.exec(ctx, text, false, everything)
	return output
}

// changing wraps a command that changes the configuration: it is saved when
// the command succeeds.
func (a *Array) changing(run command) command {
	return func(call *script.Call) (script.Value, error) {
		v, err := run(call)
		if err != nil {
			return nil, err
		}
		if err := a.save(); err != nil {
			return nil, script.Errorf("failure: %v", err)
		}
		return v, nil
	}
}

// menus are the commands the simulator carries out. Those the tree has beside
// them say so when they are called.
func (a *Array) menus() map[string]command {
	commands := map[string]command{
		"/disk/add":                    a.changing(a.diskAdd),
		"/disk/set":                    a.changing(a.diskSet),
		"/disk/comment":                a.changing(a.diskSet),
		"/disk/remove":                 a.changing(a.diskRemove),
		"/disk/monitor-traffic":        a.diskMonitor,
		"/disk/btrfs/subvolume/add":    a.changing(a.subvolumeAdd),
		"/disk/btrfs/subvolume/set":    a.changing(a.subvolumeSet),
		"/disk/btrfs/subvolume/remove": a.changing(a.subvolumeRemove),
		"/file/add":                    a.changing(a.fileAdd),
		"/file/remove":                 a.changing(a.fileRemove),
		"/system/resource/print":       a.resourcePrint,
		"/system/resource/get":         a.resourceGet,
		"/system/identity/print":       a.identityPrint,
		"/system/identity/get":         a.identityGet,
		"/system/identity/set":         a.changing(a.identitySet),
		"/disk/settings/print":         a.settingsPrint,
		"/disk/settings/get":           a.settingsGet,
		"/disk/settings/set":           a.changing(a.settingsSet),
		"/user/add":                    a.changing(a.userAdd),
		"/user/remove":                 a.changing(a.userRemove),
		"/user/group/add":              a.changing(a.groupAdd),
		"/user/group/set":              a.changing(a.groupSet),
		"/user/ssh-keys/add":           a.changing(a.keyAdd),
	}
	for path, t := range a.tables {
		commands[path+"/print"] = t.print
		commands[path+"/find"] = t.find
		commands[path+"/get"] = t.get
	}
	return commands
}

func splitComma(text string) []string { return strings.Split(text, ",") }
