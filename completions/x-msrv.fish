# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_x_msrv_global_optspecs
    string join \n c/config= q/quiet v/verbose max-messages= timeout= idle-timeout= dry-run report= h/help V/version
end

function __fish_x_msrv_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_x_msrv_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_x_msrv_using_subcommand
    set -l cmd (__fish_x_msrv_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c x-msrv -n "__fish_x_msrv_needs_command" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_needs_command" -l max-messages -d 'Take at most this many messages' -r
complete -c x-msrv -n "__fish_x_msrv_needs_command" -l timeout -d 'Take no message after this time, for example 2s' -r
complete -c x-msrv -n "__fish_x_msrv_needs_command" -l idle-timeout -d 'Keep listening to an empty queue for this time, for example 1s' -r
complete -c x-msrv -n "__fish_x_msrv_needs_command" -l report -d 'Write the run\'s report to standard output' -r -f -a "json\t'One JSON object on one line'"
complete -c x-msrv -n "__fish_x_msrv_needs_command" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -l dry-run -d 'Show what a run would do with the waiting messages; nothing is taken'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -s V -l version -d 'Print version'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "run" -d 'Do one bounded run; this is the default command'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "init" -d 'Create and check a configuration, prompting for missing values'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "send" -d 'Publish each line as one message to the configured queue'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "try" -d 'Show how sample messages would be stored or rejected'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "records" -d 'Show records of the configured store as NDJSON'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "check" -d 'Check the configuration and show the settings in force'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "status" -d 'Show the state of a pipeline: last and next run, backlog, rejected messages'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "history" -d 'Show past runs as a table, as JSON, or as a web page'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "explain" -d 'Explain an exit code, a stop reason or the reason of a dead letter, and what to do'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "dead" -d 'Work with dead letters: list, show, replay, purge'
complete -c x-msrv -n "__fish_x_msrv_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -l max-messages -d 'Take at most this many messages' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -l timeout -d 'Take no message after this time, for example 2s' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -l idle-timeout -d 'Keep listening to an empty queue for this time, for example 1s' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -l report -d 'Write the run\'s report to standard output' -r -f -a "json\t'One JSON object on one line'"
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -l dry-run -d 'Show what a run would do with the waiting messages; nothing is taken'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l queue -d 'Where messages come from' -r -f -a "nsq\t'A topic of NSQ, from nsqd directly or found by nsqlookupd.'
embedded\t'An SQLite file in the state directory, for a machine that has no other server.'"
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l store -d 'Where records go' -r -f -a "aerospike\t'A set of an Aerospike cluster; each field of a message is a bin.'
postgres\t'A table of a PostgreSQL database: the message as `jsonb`, or its fields in columns.'
sqlite\t'An SQLite file in the state directory, for a machine that has no other server.'"
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l nsqd -d 'The nsqd to take messages from, by their TCP ports (4150 by default)' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l lookupd -d 'The nsqlookupd that know the nsqd with the topic, by their HTTP ports (4161 by default; 4160 is the port for nsqd)' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l topic -d 'The topic to consume: 1 to 64 of a-zA-Z0-9._-, optionally followed by #ephemeral' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l channel -d 'The channel; it gets every message of the topic, and its consumers share them [default: x-msrv for a configuration x-msrv.yml, and x-msrv-NAME for NAME.yml]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l aerospike -d 'Several nodes to start from [default: localhost:3000]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l namespace -d 'The namespace; it must exist [default: test]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l set -d 'In the store: set in Aerospike, or table in PostgreSQL (it must exist), or table in the SQLite file' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l postgres -d 'Servers as HOST:PORT; the first one that answers and takes writes is used [default: localhost:5432]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l database -d 'The database; it must exist [default: postgres]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l user -d 'The user to log in as [default: x-msrv]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l max-messages -d 'N, the most messages that a run takes [default: 1000]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l period -d 'How often the timer starts a run [default: 10s]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -l force -d 'Overwrite an existing configuration (a backup is kept as NAME.old, NAME.old.1 and so on)'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand send" -l count -d 'Send all lines this many times' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand send" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand send" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand send" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand try" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand try" -l json -d 'Write one JSON object per line: line with key and record, or with reason and detail'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand try" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand try" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand try" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand records" -l limit -d 'Show at most this many' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand records" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand records" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand records" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand records" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand check" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand check" -l connect -d 'Also test queue, store and dead letter, and show what was proven'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand check" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand check" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand status" -l warning -d 'Warn if a limit is exceeded: age=DURATION, backlog=MESSAGES, drain=DURATION or rejected=PERCENT%' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand status" -l critical -d 'The same for the critical level' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand status" -l forget -d 'Forget a server of the queue that was removed permanently, by its HOST:PORT' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand status" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand status" -l json -d 'Write one JSON object on one line'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand status" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand status" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand history" -l since -d 'Show runs that began at or after this time: a time in UTC such as 2026-01-31T12:00:00Z, or an age such as 7d' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand history" -l html -d 'Write a page with charts to this file, replacing its content; - is standard output' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand history" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand history" -l json -d 'Write one JSON object per line for each run, with the outcomes of its messages and why it failed'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand history" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand history" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand explain" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand explain" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand explain" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -f -a "list" -d 'List dead letters without their bodies, the newest last'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -f -a "show" -d 'Show one dead letter with its body'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -f -a "replay" -d 'Publish dead letters to the configured queue again, each once'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -f -a "purge" -d 'Remove dead letters permanently'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and not __fish_seen_subcommand_from list show replay purge help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -l reason -d 'Select letters with this reason; can be repeated' -r -f -a "too-large\t''
bad-encoding\t''
not-json\t''
not-object\t''
duplicate-field\t''
too-deep\t''
big-integer\t''
huge-number\t''
reserved-field\t''
no-key\t''
no-set\t''
no-ttl\t''
schema\t''
refused\t''
no-reply\t''
no-route\t''
last-delivery\t''
too-many-attempts\t''"
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -l since -d 'Select letters rejected at or after this time: a time in UTC such as 2026-01-31T12:00:00Z, or an age such as 2h' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -l until -d 'Select letters rejected before this time' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -l id -d 'Select the letters of the message with this id, or SOURCE/ID if messages of several sources have the same id' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many, the newest [default: 100 in the table, all as JSON]' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -l replayed -d 'Select replayed letters instead of the others'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -l all -d 'Select all letters, replayed or not'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -l json -d 'Write one JSON object per line'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from show" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from show" -l body -d 'Write only the body, unchanged'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -l reason -d 'Select letters with this reason; can be repeated' -r -f -a "too-large\t''
bad-encoding\t''
not-json\t''
not-object\t''
duplicate-field\t''
too-deep\t''
big-integer\t''
huge-number\t''
reserved-field\t''
no-key\t''
no-set\t''
no-ttl\t''
schema\t''
refused\t''
no-reply\t''
no-route\t''
last-delivery\t''
too-many-attempts\t''"
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -l since -d 'Select letters rejected at or after this time: a time in UTC such as 2026-01-31T12:00:00Z, or an age such as 2h' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -l until -d 'Select letters rejected before this time' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -l id -d 'Select the letters of the message with this id, or SOURCE/ID if messages of several sources have the same id' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -l replayed -d 'Select replayed letters instead of the others'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -l all -d 'Select all letters, replayed or not'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -l dry-run -d 'Show what would be sent, without sending it'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -l reason -d 'Select letters with this reason; can be repeated' -r -f -a "too-large\t''
bad-encoding\t''
not-json\t''
not-object\t''
duplicate-field\t''
too-deep\t''
big-integer\t''
huge-number\t''
reserved-field\t''
no-key\t''
no-set\t''
no-ttl\t''
schema\t''
refused\t''
no-reply\t''
no-route\t''
last-delivery\t''
too-many-attempts\t''"
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -l since -d 'Select letters rejected at or after this time: a time in UTC such as 2026-01-31T12:00:00Z, or an age such as 2h' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -l until -d 'Select letters rejected before this time' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -l id -d 'Select the letters of the message with this id, or SOURCE/ID if messages of several sources have the same id' -r
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -s c -l config -d 'The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]' -r -F
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -l replayed -d 'Select replayed letters instead of the others'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -l all -d 'Select all letters, replayed or not'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -l dry-run -d 'Show what would be removed, without removing it'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -s q -l quiet -d 'Log errors only'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -s v -l verbose -d 'Also log each step'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from help" -f -a "list" -d 'List dead letters without their bodies, the newest last'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show one dead letter with its body'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from help" -f -a "replay" -d 'Publish dead letters to the configured queue again, each once'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from help" -f -a "purge" -d 'Remove dead letters permanently'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand dead; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "run" -d 'Do one bounded run; this is the default command'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "init" -d 'Create and check a configuration, prompting for missing values'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "send" -d 'Publish each line as one message to the configured queue'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "try" -d 'Show how sample messages would be stored or rejected'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "records" -d 'Show records of the configured store as NDJSON'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "check" -d 'Check the configuration and show the settings in force'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "status" -d 'Show the state of a pipeline: last and next run, backlog, rejected messages'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "history" -d 'Show past runs as a table, as JSON, or as a web page'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "explain" -d 'Explain an exit code, a stop reason or the reason of a dead letter, and what to do'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "dead" -d 'Work with dead letters: list, show, replay, purge'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and not __fish_seen_subcommand_from run init send try records check status history explain dead help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and __fish_seen_subcommand_from dead" -f -a "list" -d 'List dead letters without their bodies, the newest last'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and __fish_seen_subcommand_from dead" -f -a "show" -d 'Show one dead letter with its body'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and __fish_seen_subcommand_from dead" -f -a "replay" -d 'Publish dead letters to the configured queue again, each once'
complete -c x-msrv -n "__fish_x_msrv_using_subcommand help; and __fish_seen_subcommand_from dead" -f -a "purge" -d 'Remove dead letters permanently'
