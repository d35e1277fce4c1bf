/*
 * One challenge, from being asked to its end, over two workers that share nothing but Redis: what the broker's scripts
 * and hints promise together, whatever is killed meanwhile. Spin runs through every order of the steps, in several worlds
 * (with and without each fault), and must find each mistake that can be built in: model.test.mjs.
 *
 *     portal ──> worker ──create──> Redis <──attach── worker <── phone
 *                   │  └─────── hint: push ──────────────┐ ▲
 *                   └── get, wait <── hint: changed ── settle
 *
 * A script is one step, its reply a later one; anything may happen in between. Time passes twice, from the first reads to
 * the re-read and from there to the end: either when nothing else can happen, and then what was promised must be true, or
 * at any moment. What is taken for granted of the broker stands as "holds: <test>" beside the step that relies on it, and
 * that test must exist.
 *
 * Defined by whoever runs it: PHONES (1, 2); CRASHES, FAILOVERS, FLAPS (at most so many workers killed, masters of Redis
 * lost, connections lost by phones); REPLICATED (1: option durability); a mistake's name, for it to be built in.
 */
#define WORKERS     2
#define INBOXES     (1 + WORKERS + CRASHES + WORKERS * FAILOVERS) /* names that are ever given; 0 is none */
#define NOWHERE     WORKERS
#define BIT(n)      (1 << (n))
#define FINAL(s)    ((s) != none && (s) != pending)
#define R           at[master]
#define LAGGING     (cut && master == 0) /* what is written now no replica has */
#define HELD(durable) (REPLICATED && (durable) && LAGGING) /* holds: redis_durability "each accepted write is on the replica" */

#ifdef READ_NOT_HELD
#define READS_HELD 0
#else
#define READS_HELD 1 /* holds: redis_durability "nobody is told what no replica has" */
#endif

/* Silent: a phone whose owner never answers. Lost: told that Redis knows the challenge no more. */
mtype = { none, pending, approved, denied, expired, lost, silent };

/* ---- Redis: the master, and the replica that takes its place with what it had when it was cut off ---- */

typedef server {
  mtype challenge;
  bool progress;           /* some phone was sent it */
  byte presence[PHONES];   /* an inbox, 0 for nowhere ... */
  byte connection[PHONES]; /* ... and the connection: the fence */
  byte waits;              /* inboxes that wait for the challenge, as bits */
  byte exists;             /* inboxes that there are */
  byte changes;            /* inboxes in which stands that it changed */
  byte pushes[INBOXES * PHONES]; /* what else stands in them: the connection that a push is for */
};
server at[2];
bit master;
bool cut;

/* ---- workers ---- */

byte names = 1;               /* of inboxes: the next one to be given */
byte dead;                    /* inboxes that nobody renews any more */
byte inbox_of[WORKERS];
bit role_of[WORKERS];         /* the master at which it was opened */
byte change_to[WORKERS];      /* hints on their way, as bits */
byte push_to[WORKERS * PHONES], push_connection[WORKERS * PHONES]; /* the same, of pushes: an inbox, 0 for none */

/* ---- phones, and their accounts at the worker that they hang on ---- */

byte place[PHONES], connection[PHONES];
bool attach_due[PHONES], attached[PHONES], again[PHONES], has[PHONES], saw[PHONES];
byte attaching[PHONES];       /* 1: sent, 2: done, and its reply to come */
byte attach_inbox[PHONES];    /* that it names */
byte leaves[PHONES], left_inbox[PHONES], left_at[PHONES]; /* a detach under way: of which connection */
mtype says[PHONES], hears[PHONES], settled[PHONES];
bool settling[PHONES];        /* done, and its reply to come */
bit settled_role[PHONES];
byte settled_waits[PHONES];

/* ---- the portal ---- */

byte create_at = NOWHERE, watch_at = NOWHERE;
bit create_role, read_role;
bool created, fresh, accepted, read_due, read_again, read_late, read_over, expire_due;
byte reading, read_inbox;     /* 1: sent, 2: done, and its reply to come */
mtype read_state, outcome, announced;
byte route[PHONES], route_connection[PHONES];

byte clock;                   /* 0; 1: the re-read is due; 2: its time is over */
byte crashes, failovers, flaps;
bool crashed;                 /* since time passed last */

/* What somebody is told counts: it is the same for everybody, and no approval without a phone that said so. */
inline announce(state) {
  assert(state != approved || says[0] == approved || says[PHONES - 1] == approved);
  assert(announced == none || announced == state || (FAILOVERS && !REPLICATED));
  announced = state
}

inline deliver(w, p, to) {
  if
  :: place[p] == w && connection[p] == to && attached[p] -> has[p] = true; R.progress = true
#ifndef HINT_DROPPED_WHILE_ATTACHING
  /* holds: attaching "a hint that comes while a phone attaches" */
  :: place[p] == w && connection[p] == to && !attached[p] -> again[p] = true
#endif
  :: else
  fi
}

inline push(w, p, inbox, to) {
  if
  :: inbox == inbox_of[w] -> deliver(w, p, to)
  :: inbox != inbox_of[w] && inbox != 0 -> push_to[w * PHONES + p] = inbox; push_connection[w * PHONES + p] = to
  :: else
  fi
}

inline read_soon() {
  if
  :: reading == 0 -> read_due = true
#ifndef CHANGE_DURING_A_READ_FORGOTTEN
  :: reading != 0 -> read_again = true /* holds: test_watch "change_during_a_read_is_read_for_again" */
#endif
  :: else
  fi
}

inline attach_soon(p) {
  if
  :: attaching[p] == 0 -> attach_due[p] = true
  :: else -> again[p] = true
  fi
}

inline tell(w, inboxes) {
  if
  :: watch_at == w && (inboxes & BIT(inbox_of[w])) -> read_soon()
  :: else
  fi;
  change_to[w] = change_to[w] | (inboxes & ~BIT(inbox_of[w]))
}

/* holds: test_store_challenge "settled_is_final_and_told"
   holds: test_store_challenge "whatever_comes_too_late_is_expired" */
inline settle(wanted) {
  if
#ifdef SETTLE_WITHOUT_COMPARE
  :: R.challenge != none && (wanted != expired || R.challenge == pending) ->
#else
  :: R.challenge == pending ->
#endif
     R.challenge = (clock == 2 -> expired : wanted)
  :: else
  fi
}

inline hang_up(p) {
  place[p] = NOWHERE;
  attach_due[p] = false; attached[p] = false; again[p] = false; saw[p] = false;
  attaching[p] = 0; attach_inbox[p] = 0;
  settling[p] = false; settled[p] = none; settled_role[p] = 0; settled_waits[p] = 0
}

inline end_watch() {
  watch_at = NOWHERE;
  read_due = false; read_again = false; read_late = false; read_over = false; expire_due = false;
  reading = 0; read_inbox = 0; read_role = 0; read_state = none
}

/* holds: test_store_faults "lost_inbox_is_followed_by_one_of_another_name" */
inline open_inbox(w) {
  dead = dead | (inbox_of[w] == 0 -> 0 : BIT(inbox_of[w]));
  inbox_of[w] = names;
  role_of[w] = master;
  R.exists = R.exists | BIT(names);
  names++
}

/* ---- what a worker does by itself ---- */

/* Hints that are pushes: out to the other's inbox, in from the own, and a phone that went. */
proctype Pushes(byte w; byte p) {
  byte inbox, to;
end:
  do
  :: d_step { push_to[w * PHONES + p] != 0 ->
       inbox = push_to[w * PHONES + p]; to = push_connection[w * PHONES + p];
       push_to[w * PHONES + p] = 0; push_connection[w * PHONES + p] = 0;
       if
       :: R.exists & BIT(inbox) -> R.pushes[inbox * PHONES + p] = to
       /* holds: test_challenge "dead_workers_presence_is_cleared" */
       :: !(R.exists & BIT(inbox)) && R.presence[p] == inbox && R.connection[p] == to ->
          R.presence[p] = 0; R.connection[p] = 0
       :: else
       fi;
       inbox = 0; to = 0 }
  :: d_step { role_of[w] == master && R.pushes[inbox_of[w] * PHONES + p] != 0 ->
       to = R.pushes[inbox_of[w] * PHONES + p];
       R.pushes[inbox_of[w] * PHONES + p] = 0;
       deliver(w, p, to);
       to = 0 }
  :: d_step { leaves[p] != 0 && left_at[p] == w ->
       if
#ifdef DETACH_WITHOUT_FENCE
       :: true ->
#else
       /* holds: test_store "detach_is_fenced" */
       :: R.presence[p] == left_inbox[p] && R.connection[p] == leaves[p] ->
#endif
          R.presence[p] = 0; R.connection[p] = 0
       :: else
       fi;
       leaves[p] = 0; left_inbox[p] = 0; left_at[p] = 0 }
  od
}

/* Hints that the challenge changed; and the next inbox when the master is another. */
proctype Changes(byte w) {
  byte p;
end:
  do
  :: d_step { change_to[w] != 0 ->
       R.changes = R.changes | (change_to[w] & R.exists); /* holds: test_store "dead_inbox_is_not_made_anew" */
       change_to[w] = 0 }
  :: d_step { role_of[w] == master && (R.changes & BIT(inbox_of[w])) ->
       R.changes = R.changes & ~BIT(inbox_of[w]);
       if
       :: watch_at == w -> read_soon()
       :: else
       fi }
  :: d_step { role_of[w] != master ->
#ifdef INBOX_KEPT_AFTER_FAILOVER
       role_of[w] = master
#else
       open_inbox(w);
#ifndef PHONES_NOT_ATTACHED_AGAIN
       /* holds: redis_sentinel "a master killed while phones hang and a challenge waits" */
       for (p : 0 .. PHONES - 1) {
         if
         :: place[p] == w -> attach_soon(p)
         :: else
         fi
       }
       p = 0;
#endif
#ifndef WAITERS_NOT_REGISTERED_AGAIN
       if /* holds: test_watch "new_inbox_is_registered_and_all_is_read_again" */
       :: watch_at == w -> read_soon()
       :: else
       fi
#endif
#endif
     }
  od
}

/* ---- a phone ---- */

proctype Phone(byte p) {
end:
  do
  :: atomic { place[p] == NOWHERE ->
       if
       :: p == 0 -> place[p] = 0
       :: p == 1 || (connection[p] > 0 && PHONES == 1) -> place[p] = 1 /* the workers are alike: the first is as good */
       fi;
       connection[p]++;
       attach_due[p] = true }
  :: d_step { flaps < FLAPS && place[p] != NOWHERE && leaves[p] == 0 ->
       flaps++;
       leaves[p] = (attach_inbox[p] == 0 -> 0 : connection[p]);
       left_inbox[p] = attach_inbox[p]; left_at[p] = (leaves[p] == 0 -> 0 : place[p]);
       hang_up(p) }
  :: flaps < FLAPS -> flaps = FLAPS

  :: d_step { attach_due[p] -> attach_due[p] = false; again[p] = false; attaching[p] = 1; attach_inbox[p] = inbox_of[place[p]] }
  /* holds: test_store_challenge "attach_and_create_cannot_miss_each_other" */
#ifdef ATTACH_READS_FIRST
  :: d_step { attaching[p] == 1 -> saw[p] = (R.challenge == pending); attaching[p] = 3 }
  :: d_step { attaching[p] == 3 -> R.presence[p] = attach_inbox[p]; R.connection[p] = connection[p]; attaching[p] = 2 }
#else
  :: d_step { attaching[p] == 1 ->
       R.presence[p] = attach_inbox[p]; R.connection[p] = connection[p];
       saw[p] = (R.challenge == pending);
       attaching[p] = 2 }
#endif
  :: d_step { attaching[p] == 2 ->
       attaching[p] = 0; attached[p] = true;
       if
       :: saw[p] -> has[p] = true; R.progress = true
       :: else
       fi;
       saw[p] = false;
       attach_due[p] = again[p]; again[p] = false }

  :: atomic { has[p] && says[p] == none ->
       if
       :: says[p] = approved
       :: says[p] = denied
       :: says[p] = silent
       fi }
  /* It repeats what it said until it hears how it ended. holds: offline "gone with its word said but not confirmed" */
  :: d_step { (says[p] == approved || says[p] == denied) && hears[p] == none && attached[p] && !settling[p] ->
#ifdef APPROVED_UNANSWERED
       settle(approved);
#else
       settle(says[p]); /* holds: test_challenge "answer_that_does_not_count_changes_nothing" */
#endif
       settled[p] = R.challenge; settled_waits[p] = R.waits; settled_role[p] = master;
       settling[p] = true }
  :: atomic { settling[p] && !HELD(true) ->
       if
       :: settled_role[p] == master || !REPLICATED ->
          hears[p] = (settled[p] == none -> lost : settled[p]);
          if
          :: hears[p] != lost -> announce(hears[p])
          :: else
          fi;
          tell(place[p], settled_waits[p])
       :: settled_role[p] != master /* holds: test_store_faults "order_of_calls_survives_a_loss" */
       fi;
       settling[p] = false; settled[p] = none; settled_waits[p] = 0; settled_role[p] = 0 }
  od
}

/* ---- the portal: asks, repeats that where its worker died, and waits ---- */

proctype Portal() {
  byte p;
end:
  do
  :: atomic { !accepted && create_at == NOWHERE ->
       if
       :: create_at = 0
       :: create_at = 1
       fi }
#ifdef CREATE_READS_FIRST
  :: d_step { create_at != NOWHERE && !created && route_connection[0] == 0 ->
       for (p : 0 .. PHONES - 1) { route[p] = R.presence[p]; route_connection[p] = R.connection[p] + 1 }
       p = 0 }
  :: d_step { create_at != NOWHERE && !created && route_connection[0] != 0 ->
       for (p : 0 .. PHONES - 1) { route_connection[p]-- }
#else
  :: d_step { create_at != NOWHERE && !created ->
#endif
       fresh = (R.challenge == none); /* holds: test_challenge "same_request_is_answered_the_same" */
       if
       :: fresh -> R.challenge = pending
       :: else
       fi;
#ifndef CREATE_READS_FIRST
       for (p : 0 .. PHONES - 1) { route[p] = R.presence[p]; route_connection[p] = R.connection[p] }
#endif
       p = 0;
       create_role = master;
       created = true }
  :: atomic { created && !HELD(true) ->
       if
       :: create_role == master || !REPLICATED ->
          accepted = true;
          d_step {
            for (p : 0 .. PHONES - 1) {
              if
              :: fresh -> push(create_at, p, route[p], route_connection[p])
              :: else
              fi;
              route[p] = 0; route_connection[p] = 0
            }
            p = 0 }
          create_at = NOWHERE
       :: create_role != master
       fi;
       created = false; fresh = false; create_role = 0 }

  :: atomic { accepted && outcome == none && watch_at == NOWHERE ->
       if
       :: watch_at = 0
       :: watch_at = 1
       fi;
       read_due = true }
  :: d_step { read_due && reading == 0 -> read_due = false; reading = 1; read_inbox = inbox_of[watch_at] }
#ifdef WAITER_REGISTERED_AFTER_READ
  :: d_step { reading == 3 -> R.waits = R.waits | (R.challenge == none -> 0 : BIT(read_inbox)); reading = 2 }
#endif
  /* What is in the worker's hands stands for this read only while that worker would have been told.
     holds: test_store_challenge "who_waits_is_told"
     holds: test_challenge_cache "its_worker_is_told_from_the_first_moment"
     holds: test_challenge_cache "new_inbox_puts_it_in_doubt" */
  :: d_step { reading == 1 ->
       read_state = R.challenge; read_role = master;
       read_over = (clock == 2); read_late = (clock >= 1 && !R.progress);
#ifdef WAITER_REGISTERED_AFTER_READ
       reading = 3 }
#else
       R.waits = R.waits | (R.challenge == none -> 0 : BIT(read_inbox));
       reading = 2 }
#endif
  :: atomic { reading == 2 && !HELD(READS_HELD) ->
       if
       :: read_role != master && REPLICATED && READS_HELD -> reading = 1
       :: else ->
          if
          :: read_state == none -> outcome = lost; assert(FAILOVERS && !REPLICATED)
          :: FINAL(read_state) -> announce(read_state); outcome = read_state
#ifdef EXPIRED_BY_A_TIMER
          :: read_state == pending && read_over -> announce(expired); outcome = expired
#endif
          :: else -> expire_due = expire_due || read_over
          fi;
          if
          :: outcome != none -> end_watch()
          :: else -> /* holds: test_watch "lost_news_are_found_by_reading_again" */
             d_step {
               for (p : 0 .. PHONES - 1) {
                 if
                 :: read_late -> push(watch_at, p, R.presence[p], R.connection[p])
                 :: else
                 fi
               }
               p = 0;
               reading = 0; read_inbox = 0; read_role = 0; read_state = none;
               read_late = false; read_over = false;
               read_due = read_due || read_again; read_again = false }
          fi
       fi }
  /* holds: test_watch "watchers_settle_what_is_over_and_count_it_once" */
  :: d_step { expire_due -> expire_due = false; settle(expired); tell(watch_at, R.waits) }
  od
}

/* ---- faults: each may come at any moment, or never ---- */

proctype Killer() {
  byte w, p;
end:
  do
  :: atomic { crashes < CRASHES ->
       if
       :: w = 0
       :: w = 1
       fi;
       d_step {
         crashes++; crashed = true;
         change_to[w] = 0;
         for (p : 0 .. PHONES - 1) {
           push_to[w * PHONES + p] = 0; push_connection[w * PHONES + p] = 0;
           if
           :: place[p] == w -> hang_up(p)
           :: else
           fi;
           if
           :: leaves[p] != 0 && left_at[p] == w -> leaves[p] = 0; left_inbox[p] = 0; left_at[p] = 0
           :: else
           fi;
           if
           :: create_at == w -> route[p] = 0; route_connection[p] = 0
           :: else
           fi
         }
         p = 0;
         if
         :: create_at == w -> create_at = NOWHERE; created = false; fresh = false; create_role = 0
         :: else
         fi;
         if
         :: watch_at == w -> end_watch()
         :: else
         fi;
         open_inbox(w); /* the one that is started in its place */
         w = 0 } }
  :: crashes < CRASHES -> crashes = CRASHES
#if CRASHES
  /* Nobody renews it. holds: keys "what a killed worker leaves disappears" */
  :: d_step { R.exists & dead ->
       for (w : 1 .. INBOXES - 1) {
         if
         :: (R.exists & dead) & BIT(w) -> for (p : 0 .. PHONES - 1) { R.pushes[w * PHONES + p] = 0 }
         :: else
         fi
       }
       R.changes = R.changes & ~dead; R.exists = R.exists & ~dead;
       w = 0; p = 0 }
#endif
  od
}

proctype Failover() {
  byte n;
  if
  :: FAILOVERS ->
     d_step {
       at[1].challenge = at[0].challenge; at[1].progress = at[0].progress;
       at[1].waits = at[0].waits; at[1].exists = at[0].exists; at[1].changes = at[0].changes;
       for (n : 0 .. PHONES - 1) { at[1].presence[n] = at[0].presence[n]; at[1].connection[n] = at[0].connection[n] }
       for (n : 0 .. INBOXES * PHONES - 1) { at[1].pushes[n] = at[0].pushes[n] }
       n = 0;
       cut = true }
     d_step {
       master = 1;
       at[0].challenge = none; at[0].progress = 0; at[0].waits = 0; at[0].exists = 0; at[0].changes = 0;
       for (n : 0 .. PHONES - 1) { at[0].presence[n] = 0; at[0].connection[n] = 0 }
       for (n : 0 .. INBOXES * PHONES - 1) { at[0].pushes[n] = 0 }
       n = 0 }
  :: true
  fi
}

/* ---- time, and what is promised ---- */

inline pass() {
  clock++; crashed = false;
  if
#ifndef NO_REREAD
  :: watch_at != NOWHERE -> read_soon()
#endif
  :: else
  fi
}

/* Nothing else can happen. A worker that was killed may have taken news along: then they are there at the next re-read. */
inline check() {
  for (n : 0 .. PHONES - 1) {
    /* A phone that is attached while a challenge is made, or before, or after, gets it. */
    assert(crashed || R.challenge != pending || (attached[n] && has[n]));
    /* Who has said something hears how it ended. */
    assert((says[n] != approved && says[n] != denied) || hears[n] != none)
  }
  n = 0;
  /* Who waits was told. */
  assert(crashed || !FINAL(R.challenge) || outcome != none);
  /* Nobody waits for ever, and nothing is pending for ever, but where a fail-over has lost an end that was told. */
  assert(clock < 2 || (accepted && outcome != none));
  assert(clock < 2 || R.challenge != pending || (FAILOVERS && !REPLICATED))
}

init {
  byte n;
  d_step {
    at[0].challenge = none; at[1].challenge = none; read_state = none; outcome = none; announced = none;
    for (n : 0 .. PHONES - 1) { place[n] = NOWHERE; says[n] = none; hears[n] = none; settled[n] = none }
    for (n : 0 .. WORKERS - 1) { open_inbox(n) }
    n = 0 }
  atomic {
    run Portal(); run Killer(); run Failover();
    for (n : 0 .. PHONES - 1) { run Phone(n); run Pushes(0, n); run Pushes(1, n) }
    run Changes(0); run Changes(1);
    n = 0 }
  do
  :: clock < 2 ->
     if
     :: d_step { R.challenge != none && !read_due && reading == 0 && !expire_due -> pass() }
     :: skip -> /* this time nothing passes before everything else is done */
        atomic { timeout -> check(); pass() }
     fi
  :: clock == 2 -> atomic { timeout -> check(); break }
  od
}
