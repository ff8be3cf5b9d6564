using System.Collections.Immutable;
using System.Text;

namespace Sagas.Runtime;

/// <summary>
/// One listing or count. It walks whatever is shortest: the orders of the wanted statuses, one tag's sagas, or the ids with
/// the wanted start. The lock is given back after every slice; a walk goes on from the last saga it saw.
/// </summary>
sealed class SagaQuery
{
    const int Slice = 2000;

    // More ids than this with the wanted start are not gathered and sorted for one page: walking by time meets one soon.
    const int MostGathered = 50_000;

    readonly SagaIndex _index;
    readonly SagaFilter _filter;
    readonly SagaEntry? _below;
    readonly byte[]? _text;
    readonly (byte[] Key, byte[] Value)[] _tags;
    readonly long _after, _before;
    readonly int _statuses;

    public SagaQuery(SagaIndex index, SagaFilter filter, string? cursor)
    {
        (_index, _filter) = (index, filter);
        _below = cursor is null ? null : SagaCursor.Read(cursor);
        _text = string.IsNullOrEmpty(filter.Text) ? null : Encoding.UTF8.GetBytes(filter.Text);
        _tags = filter.Tags is { IsDefault: false } tags
            ? [.. tags.Select(static tag => (Encoding.UTF8.GetBytes(tag.Key), Encoding.UTF8.GetBytes(tag.Value)))]
            : [];
        _after = filter.StartedAfter is { } after ? Ceiling(after) : long.MinValue;
        _before = filter.StartedBefore is { } before ? Ceiling(before) : long.MaxValue;
        _statuses = filter.Statuses is { IsDefaultOrEmpty: false } statuses ? statuses.Aggregate(0, static (mask, status) => mask | 1 << (int)status) : (1 << SagaIndex.Statuses) - 1;
        if (filter.UnfinishedOnly)
            for (var status = SagaStatus.Completed; status <= SagaStatus.Terminated; status++) _statuses &= ~(1 << (int)status);
    }

    /// <summary>A saga and, unless it has ended and is to be read back, its state when it was found.</summary>
    public readonly record struct Hit(SagaEntry Saga, SagaState? State);

    /// <summary>The newest so many.</summary>
    public List<Hit> Newest(int most)
    {
        var hits = new List<Hit>(Math.Min(most, 512));
        if (Plan(paging: true) is not { } sources)
        {
            Gather(saga => hits.Add(new Hit(saga, saga.State)));
            hits.Sort(static (a, b) => Compare(b.Saga, a.Saga));
            return hits.Count > most ? hits[..most] : hits;
        }

        if (sources.Length == 0) return hits;
        Walk(sources, saga =>
        {
            hits.Add(new Hit(saga, saga.State));
            return hits.Count < most;
        });
        return hits;
    }

    /// <summary>How many there are in each status.</summary>
    public long[] Count()
    {
        var counts = new long[SagaIndex.Statuses];
        if (_tags.Length == 0 && _text is null && !_filter.UnfinishedOnly && _after == long.MinValue && _before == long.MaxValue)
        {
            lock (_index.Gate)
                foreach (var (status, order) in Orders_NeedsLock()) counts[(int)status] = order.Count;
            return counts;
        }

        if (Plan(paging: false) is { } sources)
            Walk(sources, saga =>
            {
                counts[(int)saga.Status]++;
                return true;
            });
        else Gather(saga => counts[(int)saga.Status]++);
        return counts;
    }

    public static ImmutableDictionary<SagaStatus, long> ByStatus(long[] counts) =>
        counts.Select(static (count, status) => KeyValuePair.Create((SagaStatus)status, count)).Where(static pair => pair.Value > 0).ToImmutableDictionary();

    /// <summary>What to walk by time; null: gather by text.</summary>
    Source[]? Plan(bool paging)
    {
        lock (_index.Gate)
        {
            if (_filter.Definition is { } name && _index.FindDefinition_NeedsLock(name) is null) return [];
            List<Source> best = [.. Orders_NeedsLock().Select(static order => new Source(order.Order, null))];
            var least = best.Sum(static source => source.Order.Count);
            foreach (var (_, value) in _tags)
            {
                var key = SagaEntry.ValueKey(value);
                var count = Sharing_NeedsLock(key);
                if (count >= least) continue;
                least = count;
                best = [new Source(_index.ByValue_NeedsLock, key)];
            }

            if (_text is null) return [.. best];
            var ids = _index.ById_NeedsLock;
            var (from, to) = Prefixed_NeedsLock();
            var matching = ids.Between(from, to) + Sharing_NeedsLock(SagaEntry.ValueKey(_text));
            return matching < least && (!paging || matching <= MostGathered) ? null : [.. best];
        }
    }

    /// <summary>Visits the matching sagas, newest first, until <paramref name="found"/> says no.</summary>
    void Walk(Source[] sources, Func<SagaEntry, bool> found)
    {
        var heads = new SagaEntry?[sources.Length];
        var places = new OrderedEntries.Place[sources.Length];
        for (var last = _below; ;)
        {
            lock (_index.Gate)
            {
                for (var i = 0; i < sources.Length; i++)
                {
                    places[i] = sources[i].Begin(last, _before);
                    heads[i] = sources[i].Back(ref places[i]);
                }

                for (var visited = 0; visited < Slice; visited++)
                {
                    var newest = -1;
                    for (var i = 0; i < heads.Length; i++)
                        if (heads[i] is { } head && (newest < 0 || Compare(head, heads[newest]!) > 0)) newest = i;
                    if (newest < 0 || heads[newest]!.StartedAt < _after) return;
                    last = heads[newest]!;
                    heads[newest] = sources[newest].Back(ref places[newest]);
                    if (Matches_NeedsLock(last) && !found(last)) return;
                }
            }
        }
    }

    /// <summary>Visits the matching sagas whose id starts with the text or which have it for a tag's value, in no order.</summary>
    void Gather(Action<SagaEntry> found)
    {
        var ids = _index.ById_NeedsLock;
        SagaEntry? last = null;
        for (var more = true; more;)
        {
            lock (_index.Gate)
            {
                var place = last is null ? Prefixed_NeedsLock().From : ids.LowerBound(last.IdKey, last);
                for (var visited = 0; visited < Slice; visited++)
                {
                    more = ids.On(ref place, out _, out var saga) && saga.Id.StartsWith(_text);
                    if (!more) break;
                    if (!ReferenceEquals(saga, last) && Matches_NeedsLock(saga)) found(saga);
                    last = saga;
                }
            }
        }

        Walk([new Source(_index.ByValue_NeedsLock, SagaEntry.ValueKey(_text))], saga =>
        {
            if (!saga.Id.StartsWith(_text)) found(saga);
            return true;
        });
    }

    bool Matches_NeedsLock(SagaEntry saga)
    {
        if ((_statuses >> (int)saga.Status & 1) == 0 || saga.StartedAt < _after || saga.StartedAt >= _before) return false;
        if (_filter.Definition is { } name && saga.Definition.Name != name) return false;
        if (_below is not null && Compare(saga, _below) >= 0) return false;
        foreach (var (key, value) in _tags)
            if (!HasTag(saga.Tags, key, value)) return false;
        if (_text is not null && !saga.Id.StartsWith(_text) && !HasTag(saga.Tags, null, _text)) return false;
        return !_filter.UnfinishedOnly || saga.State is { } state && _filter.MatchesSteps(state);
    }

    static bool HasTag(ReadOnlySpan<byte> tags, byte[]? key, byte[] value)
    {
        while (!tags.IsEmpty)
        {
            var itsKey = SagaEntry.Take(ref tags);
            if (SagaEntry.Take(ref tags).SequenceEqual(value) && (key is null || itsKey.SequenceEqual(key))) return true;
        }

        return false;
    }

    IEnumerable<(SagaStatus Status, OrderedEntries Order)> Orders_NeedsLock()
    {
        var definition = _filter.Definition is { } name ? _index.FindDefinition_NeedsLock(name) : null;
        if (_filter.Definition is not null && definition is null) yield break;
        for (var status = SagaStatus.Running; status <= SagaStatus.Terminated; status++)
            if ((_statuses >> (int)status & 1) != 0)
                yield return (status, definition?.ByStatus[(int)status] ?? _index.ByStatus_NeedsLock(status));
    }

    int Sharing_NeedsLock(ulong key)
    {
        var values = _index.ByValue_NeedsLock;
        return values.Between(values.LowerBound(key, null), After(values, key));
    }

    (OrderedEntries.Place From, OrderedEntries.Place To) Prefixed_NeedsLock()
    {
        var ids = _index.ById_NeedsLock;
        var low = SagaEntry.Probe(_filter.Text!);
        // Ids are ASCII, so no id that starts with the text is above the text with a byte beyond ASCII behind it.
        var high = SagaEntry.Probe(_filter.Text! + "\u07FF");
        return (ids.LowerBound(low.IdKey, low), ids.LowerBound(high.IdKey, high));
    }

    static OrderedEntries.Place After(OrderedEntries order, ulong key) => key == ulong.MaxValue ? order.End : order.LowerBound(key + 1, null);

    static int Compare(SagaEntry a, SagaEntry b) =>
        a.StartedAt != b.StartedAt ? a.StartedAt.CompareTo(b.StartedAt) : a.Id.SequenceCompareTo(b.Id);

    static long Ceiling(DateTimeOffset time) => time.ToUnixTimeMilliseconds() + (time.UtcTicks % TimeSpan.TicksPerMillisecond == 0 ? 0 : 1);

    /// <summary>Sagas by time: a whole order or, in the order of values, those under one key.</summary>
    readonly record struct Source(OrderedEntries Order, ulong? Key)
    {
        public OrderedEntries.Place Begin(SagaEntry? below, long before)
        {
            if (Key is { } key) return below is null ? After(Order, key) : Order.LowerBound(key, below);
            if (below is not null) return Order.LowerBound(SagaIndex.TimeKey(below.StartedAt), below);
            return before == long.MaxValue ? Order.End : Order.LowerBound(SagaIndex.TimeKey(before), null);
        }

        public SagaEntry? Back(ref OrderedEntries.Place place) =>
            Order.Back(ref place, out var key, out var saga) && (Key is null || key == Key) ? saga : null;
    }
}
