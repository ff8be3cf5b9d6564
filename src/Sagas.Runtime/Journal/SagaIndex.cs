using System.Buffers.Binary;
using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text;

namespace Sagas.Runtime;

/// <summary>
/// All sagas of one store in memory, in the orders that listings ask for: by status and by definition and status (newest
/// last), by id, by tag value. One lock for all; whoever walks far gives it back every few thousand entries.
/// </summary>
sealed class SagaIndex
{
    public const int Statuses = (int)SagaStatus.Terminated + 1;

    readonly OrderedEntries[] _byStatus = IndexedDefinition.Orders();
    readonly OrderedEntries _byId = new(tiesByTime: false), _byValue = new(tiesByTime: true);
    readonly Dictionary<string, IndexedDefinition> _definitions = new(StringComparer.Ordinal);

    public Lock Gate { get; } = new();

    public int Count => _byId.Count;

    public OrderedEntries ById_NeedsLock => _byId;

    /// <summary>By <see cref="SagaEntry.ValueKey"/> of each tag's value, then by start.</summary>
    public OrderedEntries ByValue_NeedsLock => _byValue;

    public static ulong TimeKey(long unixMilliseconds) => (ulong)unixMilliseconds ^ 1UL << 63;

    public static bool IsEnd(SagaStatus status) => status is SagaStatus.Completed or SagaStatus.Compensated or SagaStatus.Terminated;

    public OrderedEntries ByStatus_NeedsLock(SagaStatus status) => _byStatus[(int)status];

    public IndexedDefinition? FindDefinition_NeedsLock(string name) => _definitions.GetValueOrDefault(name);

    public IndexedDefinition Define_NeedsLock(string name)
    {
        ref var definition = ref CollectionsMarshal.GetValueRefOrAddDefault(_definitions, name, out _);
        return definition ??= new IndexedDefinition(name);
    }

    public SagaEntry? Find_NeedsLock(SagaEntry probe)
    {
        var place = _byId.LowerBound(probe.IdKey, probe);
        return _byId.On(ref place, out _, out var saga) && saga.Id.SequenceEqual(probe.Id) ? saga : null;
    }

    public void Add_NeedsLock(SagaEntry saga)
    {
        // Its definition may have left with its last saga since the entry was made.
        saga.Definition = Define_NeedsLock(saga.Definition.Name);
        _byId.Add(saga.IdKey, saga);
        var tags = saga.Tags;
        while (!tags.IsEmpty)
        {
            SagaEntry.Take(ref tags);
            _byValue.Add(SagaEntry.ValueKey(SagaEntry.Take(ref tags)), saga);
        }

        AddToOrders(saga);
    }

    public void SetStatus_NeedsLock(SagaEntry saga, SagaStatus status)
    {
        if (saga.Status == status) return;
        RemoveFromOrders(saga);
        saga.Status = status;
        AddToOrders(saga);
    }

    public void Remove_NeedsLock(SagaEntry saga)
    {
        _byId.Remove(saga.IdKey, saga);
        var tags = saga.Tags;
        while (!tags.IsEmpty)
        {
            SagaEntry.Take(ref tags);
            _byValue.Remove(SagaEntry.ValueKey(SagaEntry.Take(ref tags)), saga);
        }

        RemoveFromOrders(saga);
        if (saga.Definition.Count == 0) _definitions.Remove(saga.Definition.Name);
    }

    /// <summary>Fills an empty index: sorts once where adding one by one would search a million times.</summary>
    public void Load_NeedsLock(SagaEntry[] sagas)
    {
        var keys = new ulong[sagas.Length];
        for (var i = 0; i < sagas.Length; i++) keys[i] = TimeKey(sagas[i].StartedAt);
        Fill(keys, sagas, static (a, b) => a.Id.SequenceCompareTo(b.Id), (_, saga) =>
        {
            saga.Definition = Define_NeedsLock(saga.Definition.Name);
            AddToOrders(saga);
        });
        var values = new List<ulong>();
        var tagged = new List<SagaEntry>();
        for (var i = 0; i < sagas.Length; i++)
        {
            keys[i] = sagas[i].IdKey;
            var tags = sagas[i].Tags;
            while (!tags.IsEmpty)
            {
                SagaEntry.Take(ref tags);
                values.Add(SagaEntry.ValueKey(SagaEntry.Take(ref tags)));
                tagged.Add(sagas[i]);
            }
        }

        Fill(keys, sagas, static (a, b) => a.Id.SequenceCompareTo(b.Id), (key, saga) => _byId.Add(key, saga));
        // Those were taken in the order of time, so ties are in order by their numbers: many sagas share a tag.
        Fill([.. values], [.. Enumerable.Range(0, tagged.Count)], static (a, b) => a - b, (key, number) => _byValue.Add(key, tagged[number]));
    }

    /// <summary>
    /// Removes up to so many of those that ended at that time or before. Nothing that started later has ended earlier, so
    /// only the oldest are looked at. False: none is left.
    /// </summary>
    public bool Expire_NeedsLock(long endedBy, int most, Action<SagaEntry> gone)
    {
        var expired = new List<SagaEntry>();
        for (var status = SagaStatus.Completed; status <= SagaStatus.Terminated; status++)
        {
            var order = _byStatus[(int)status];
            var place = order.Start;
            while (expired.Count < most && order.On(ref place, out _, out var saga) && saga.StartedAt <= endedBy)
                if (saga.FinishedAt <= endedBy) expired.Add(saga);
        }

        foreach (var saga in expired)
        {
            Remove_NeedsLock(saga);
            gone(saga);
        }

        return expired.Count == most;
    }

    static void Fill<T>(ulong[] keys, T[] sagas, Comparison<T> ties, Action<ulong, T> add)
    {
        Array.Sort(keys, sagas);
        for (int from = 0, to; from < keys.Length; from = to)
        {
            for (to = from + 1; to < keys.Length && keys[to] == keys[from];) to++;
            if (to - from > 1) sagas.AsSpan(from, to - from).Sort(ties);
            for (var i = from; i < to; i++) add(keys[i], sagas[i]);
        }
    }

    void AddToOrders(SagaEntry saga)
    {
        var key = TimeKey(saga.StartedAt);
        _byStatus[(int)saga.Status].Add(key, saga);
        saga.Definition.ByStatus[(int)saga.Status].Add(key, saga);
    }

    void RemoveFromOrders(SagaEntry saga)
    {
        var key = TimeKey(saga.StartedAt);
        _byStatus[(int)saga.Status].Remove(key, saga);
        saga.Definition.ByStatus[(int)saga.Status].Remove(key, saga);
    }
}

/// <summary>A definition's name, once, and its sagas.</summary>
sealed class IndexedDefinition(string name)
{
    public string Name { get; } = name;

    public OrderedEntries[] ByStatus { get; } = Orders();

    public int Count
    {
        get
        {
            var count = 0;
            foreach (var order in ByStatus) count += order.Count;
            return count;
        }
    }

    public static OrderedEntries[] Orders()
    {
        var orders = new OrderedEntries[SagaIndex.Statuses];
        for (var i = 0; i < orders.Length; i++) orders[i] = new OrderedEntries(tiesByTime: true);
        return orders;
    }
}

/// <summary>Where a listing goes on: after the saga with this start and id, whether or not it is still there.</summary>
static class SagaCursor
{
    public static string Write(SagaEntry last)
    {
        var bytes = new byte[8 + last.Id.Length];
        BinaryPrimitives.WriteInt64BigEndian(bytes, last.StartedAt);
        last.Id.CopyTo(bytes.AsSpan(8));
        return Base64Url.EncodeToString(bytes);
    }

    public static SagaEntry Read(string cursor)
    {
        byte[] bytes;
        try
        {
            bytes = Base64Url.DecodeFromChars(cursor);
        }
        catch (FormatException)
        {
            bytes = [];
        }

        if (bytes.Length < 9 || bytes.AsSpan(8).ContainsAnyExceptInRange((byte)'!', (byte)'~'))
            throw new FormatException("The cursor is none that a listing gave out. Use the 'next' of the page before, unchanged, or leave it out to start anew.");
        return SagaEntry.Probe(Encoding.ASCII.GetString(bytes.AsSpan(8)), BinaryPrimitives.ReadInt64BigEndian(bytes));
    }
}
