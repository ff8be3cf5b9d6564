using System.Collections.Immutable;

namespace Sagas;

// Breadth first over every state of the world that can be reached within the bounds. A state is a few words: numbers of
// the saga's states in memory and in the store, what is used up of the bounds, and 32 bits a step for its participant and
// the messages on their way. Found states lie one after the other in an arena, which is the queue as well; an open
// hash table of their places says which are known. Being breadth first, the first violation found is a shortest one.

/// <summary>Tries every order of every event and fault for one definition, with the production Decider, and says whether the promises hold. Pure.</summary>
public sealed class Explorer
{
    private const int ChunkBits = 16, ChunkSize = 1 << ChunkBits, MostOnward = 1000;
    private readonly ExplorerBounds _bounds;
    private readonly ExplorerWorld _world;
    private readonly Func<bool>? _stop;
    private readonly List<ulong[]> _arena = [];
    private readonly List<(int Parent, int Deed)[]> _parents = [];
    private readonly List<int[]> _onward = [];
    private readonly int _words, _n;
    private readonly ulong[] _packed;
    private int[] _slots = new int[1 << 16];
    private int _count;
    private long _transitions, _warm;
    private Explored _here;
    // What follows from one state, until all of it is looked for together.
    private ulong[] _following;
    private readonly List<int> _deeds = [];

    private Explorer(SagaDefinition saga, ExplorerBounds bounds, ImmutableArray<EffectInvariant> invariants, Func<bool>? stop, ExplorerMutant mutant,
        Func<SagaDefinition, SagaState, SagaEvent, DateTimeOffset, Decision>? decide)
    {
        (_bounds, _stop, _n) = (bounds, stop, saga.Steps.Length);
        _world = new ExplorerWorld(saga, bounds, invariants, mutant, decide);
        _words = 1 + (_n + 2) / 2;
        _packed = new ulong[_words];
        _following = new ulong[64 * (_words + 1)];
        _here.Steps = new uint[_n];
    }

    /// <summary>Explores <paramref name="saga"/> within <paramref name="bounds"/>.</summary>
    /// <param name="saga">The definition.</param>
    /// <param name="bounds">What may happen; null: the defaults.</param>
    /// <param name="invariants">What must hold of the effects besides the promises.</param>
    /// <param name="stop">Asked now and then; true ends the search without a verdict.</param>
    public static Exploration Explore(SagaDefinition saga, ExplorerBounds? bounds = null, ImmutableArray<EffectInvariant> invariants = default, Func<bool>? stop = null) =>
        Explore(saga, bounds, invariants, stop, ExplorerMutant.None, null);

    /// <summary>
    /// Explores <paramref name="saga"/> three times: without retries, since a retry hides a command that was forgotten; within <paramref name="bounds"/>; and, if those
    /// say nothing of errors, with errors. Ends with the first run that breaks a promise or does not come to its end.
    /// </summary>
    /// <inheritdoc cref="Explore(SagaDefinition, ExplorerBounds?, ImmutableArray{EffectInvariant}, Func{bool}?)"/>
    public static Verification Verify(SagaDefinition saga, ExplorerBounds? bounds = null, ImmutableArray<EffectInvariant> invariants = default, Func<bool>? stop = null)
    {
        bounds ??= new ExplorerBounds();
        var runs = ImmutableArray.CreateBuilder<Exploration>();
        // Bounds with errors have every order of those with errors alone; and nothing may fail where nothing is asked again.
        ImmutableArray<ExplorerBounds> all = [.. new[] { bounds.WithoutRetries, bounds }.Concat(bounds.Errors || !bounds.Retries ? [] : [bounds.WithErrors]).Distinct()];
        foreach (var run in all)
        {
            runs.Add(Explore(saga, run, invariants, stop));
            if (runs[^1].Verdict != ExplorerVerdict.Holds) break;
        }
        return new Verification(runs.ToImmutable()) { NotRun = all[runs.Count..] };
    }

    internal static Exploration Explore(SagaDefinition saga, ExplorerBounds? bounds, ImmutableArray<EffectInvariant> invariants, Func<bool>? stop, ExplorerMutant mutant,
        Func<SagaDefinition, SagaState, SagaEvent, DateTimeOffset, Decision>? decide)
    {
        ArgumentNullException.ThrowIfNull(saga);
        bounds ??= new ExplorerBounds();
        foreach (var (name, value) in new[] { ("Crashes", bounds.Crashes), ("Duplicates", bounds.Duplicates), ("Drops", bounds.Drops), ("Takeovers", bounds.Takeovers), ("Pauses", bounds.Pauses) })
            if (value is < 0 or > 7) throw new ArgumentOutOfRangeException(nameof(bounds), value, $"{name} must lie between 0 and 7.");
        if (bounds.Attempts is < 1 or > 20) throw new ArgumentOutOfRangeException(nameof(bounds), bounds.Attempts, "Attempts must lie between 1 and 20.");
        if (!bounds.Retries && (bounds.Drops > 0 || bounds.Takeovers > 0 || bounds.Errors)) throw new ArgumentException("Without retries nothing may be lost: set Drops and Takeovers to 0 and Errors to false, or use WithoutRetries.", nameof(bounds));
        return new Explorer(saga, bounds, invariants.IsDefault ? [] : invariants, stop, mutant, decide).Search();
    }

    private Exploration Search()
    {
        _world.Start();
        if (_world.Broken is { } atOnce) return Report(ExplorerVerdict.Violated, 0, atOnce, []);
        Pack(_world.Next);
        Find(_packed, Hash(_packed), -1, 0, add: true);

        int index = 0, depth = 0, levelEnd = 1, onward = -1;
        (string Broken, int Deed)? violation = null;
        bool Visit(Deed deed, int step, int detail)
        {
            _transitions++;
            if (_world.Broken is { } broken)
            {
                violation = (broken, DeedCode(deed, step, detail));
                return true;
            }
            Follow(DeedCode(deed, step, detail));
            return false;
        }
        Func<Deed, int, int, bool> visit = Visit;
        for (; index < _count; index++)
        {
            if (index == levelEnd) (depth, levelEnd) = (depth + 1, _count);
            if ((index & 1023) == 0 && (_count > _bounds.MaxStates || _stop?.Invoke() == true)) return Report(ExplorerVerdict.Bounded, depth, null, []);
            Unpack(index);
            onward = -1;
            _deeds.Clear();
            if (_world.Each(_here, index == 0, visit)) return Violated(depth, violation!.Value.Broken, index, violation.Value.Deed);
            Warm();
            for (var i = 0; i < _deeds.Count; i++)
            {
                var next = Find(Following(i)[1..], Following(i)[0], index, _deeds[i], add: true);
                if (onward < 0 && next != index) onward = next;
            }
            _onward[index >> ChunkBits][index & (ChunkSize - 1)] = _world.Ended(_here) ? index : onward;
        }
        return CanAllEnd(out var lost) switch
        {
            true => Report(ExplorerVerdict.Holds, depth, null, []),
            false => Violated(depth, $"P7: from here the saga can never end{(_bounds.Retries ? "" : ", since nothing is asked again")}.", lost, -1),
            null => Report(ExplorerVerdict.Bounded, depth, null, []),
        };
    }

    // ── From every state it can still end ───────────────────────────────────────────────────────────────────────────────

    /// <summary>
    /// Of each state one way on is kept, the first: a message that is heard or delivered, if there is one. Nearly always that leads to an end. For what is left all
    /// ways on are found again, as often as that finds more.
    /// </summary>
    private bool? CanAllEnd(out int lost)
    {
        var can = new System.Collections.BitArray(_count);
        int Onward(int i) => _onward[i >> ChunkBits][i & (ChunkSize - 1)];
        for (var i = 0; i < _count; i++)
        {
            int at = i, steps = 0;
            while (at >= 0 && !can[at] && Onward(at) != at && steps++ < MostOnward) at = Onward(at);
            if (at < 0 || (!can[at] && Onward(at) != at)) continue;
            for (can[at] = true, at = i; !can[at]; at = Onward(at)) can[at] = true;
        }
        bool Leads(Deed deed, int step, int detail)
        {
            Pack(_world.Next);
            return Find(_packed, Hash(_packed), -1, 0, add: false) is >= 0 and var next && can[next];
        }
        Func<Deed, int, int, bool> leads = Leads;
        for (var found = true; found;)
        {
            found = false;
            for (var i = _count - 1; i >= 0; i--)
            {
                if ((i & 1023) == 0 && _stop?.Invoke() == true)
                {
                    lost = -1;
                    return null;
                }
                if (can[i]) continue;
                Unpack(i);
                if (_world.Ended(_here) || _world.Each(_here, i == 0, leads)) found = can[i] = true;
            }
        }
        for (lost = 0; lost < _count; lost++)
            if (!can[lost]) return false;
        return true;
    }

    // ── The arena ───────────────────────────────────────────────────────────────────────────────────────────────────────

    private void Pack(in Explored world)
    {
        _packed[0] = (uint)world.Memory | (ulong)(uint)world.Stored << 20 | (ulong)(uint)world.Stale << 40 | (world.StaleIsFresh ? 1ul << 60 : 0);
        _packed[1] = (uint)(world.Crashes | world.Duplicates << 3 | world.Drops << 6 | world.Takeovers << 9 | world.Pauses << 12);
        for (var w = 2; w < _words; w++) _packed[w] = 0;
        for (var s = 0; s < _n; s++) _packed[(s + 3) / 2] |= (ulong)world.Steps[s] << ((s + 3) % 2 * 32);
    }

    private void Unpack(int index)
    {
        var at = State(index);
        (_here.Memory, _here.Stored, _here.Stale) = ((int)(at[0] & 0xFFFFF), (int)(at[0] >> 20 & 0xFFFFF), (int)(at[0] >> 40 & 0xFFFFF));
        _here.StaleIsFresh = (at[0] >> 60 & 1) != 0;
        var used = (int)at[1];
        (_here.Crashes, _here.Duplicates, _here.Drops, _here.Takeovers) = (used & 7, used >> 3 & 7, used >> 6 & 7, used >> 9 & 7);
        _here.Pauses = used >> 12 & 7;
        for (var s = 0; s < _n; s++) _here.Steps[s] = (uint)(at[(s + 3) / 2] >> ((s + 3) % 2 * 32));
    }

    private Span<ulong> Following(int i) => _following.AsSpan(i * (_words + 1), _words + 1);

    private void Follow(int deed)
    {
        if ((_deeds.Count + 1) * (_words + 1) > _following.Length) Array.Resize(ref _following, _following.Length * 2);
        Pack(_world.Next);
        var following = Following(_deeds.Count);
        following[0] = Hash(_packed);
        _packed.CopyTo(following[1..]);
        _deeds.Add(deed);
    }

    /// <summary>Touches what is about to be looked for. Nothing of it is in the processor's caches: fetched one after the other, it would be half of the work.</summary>
    private void Warm()
    {
        for (var i = 0; i < _deeds.Count; i++) _warm += _slots[SlotOf(Following(i)[0])];
        for (var i = 0; i < _deeds.Count; i++)
            if (_slots[SlotOf(Following(i)[0])] is not 0 and var known) _warm += (long)State(known - 1)[0];
    }

    private static ulong Hash(ReadOnlySpan<ulong> packed)
    {
        var hash = 14695981039346656037ul;
        foreach (var word in packed)
        {
            hash = (hash ^ word) * 0x9E3779B97F4A7C15ul;
            hash ^= hash >> 29;
        }
        return hash;
    }

    private int SlotOf(ulong hash) => (int)(hash >> 20) & (_slots.Length - 1);

    private Span<ulong> State(int index) => _arena[index >> ChunkBits].AsSpan((index & (ChunkSize - 1)) * _words, _words);

    /// <summary>The place of a packed state; when it is new, its new place, or -1 if it is not to be added.</summary>
    private int Find(ReadOnlySpan<ulong> packed, ulong hash, int parent, int deed, bool add)
    {
        var mask = _slots.Length - 1;
        var slot = SlotOf(hash);
        for (; _slots[slot] != 0; slot = (slot + 1) & mask)
            if (State(_slots[slot] - 1).SequenceEqual(packed)) return _slots[slot] - 1;
        if (!add) return -1;
        if ((_count & (ChunkSize - 1)) == 0)
        {
            _arena.Add(new ulong[ChunkSize * _words]);
            _parents.Add(new (int, int)[ChunkSize]);
            _onward.Add(new int[ChunkSize]);
        }
        packed.CopyTo(State(_count));
        _parents[_count >> ChunkBits][_count & (ChunkSize - 1)] = (parent, deed);
        _slots[slot] = ++_count;
        if (_count > _slots.Length / 2) Grow();
        return _count - 1;
    }

    private void Grow()
    {
        var old = _slots;
        _slots = new int[old.Length * 2];
        foreach (var place in old)
        {
            if (place == 0) continue;
            var slot = SlotOf(Hash(State(place - 1)));
            while (_slots[slot] != 0) slot = (slot + 1) & (_slots.Length - 1);
            _slots[slot] = place;
        }
    }

    private static int DeedCode(Deed deed, int step, int detail) => (int)deed | step << 6 | detail << 14;

    // ── The report ──────────────────────────────────────────────────────────────────────────────────────────────────────

    private Exploration Report(ExplorerVerdict verdict, int depth, string? violation, ImmutableArray<StoryLine> story) => new()
    {
        Definition = _world.Saga.ToString(), Verdict = verdict, Bounds = _bounds, States = _count, Transitions = _transitions, Depth = depth,
        Bytes = _arena.Count * (long)ChunkSize * (_words * 8 + 12) + _slots.Length * 4L, Violation = violation, Counterexample = story,
    };

    private Exploration Violated(int depth, string violation, int index, int last)
    {
        var deeds = new Stack<int>();
        if (last >= 0) deeds.Push(last);
        while (index > 0)
        {
            var (parent, deed) = _parents[index >> ChunkBits][index & (ChunkSize - 1)];
            deeds.Push(deed);
            index = parent;
        }
        var story = new ExplorerStory(_world);
        var lines = story.Tell(deeds);
        return Report(ExplorerVerdict.Violated, depth, last < 0 ? violation : story.Broken, lines);
    }
}
