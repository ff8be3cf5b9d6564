namespace Sagas.Runtime;

/// <summary>
/// Entries in ascending order of a number, ties by start and id (or by id alone): a list of short sorted arrays, 16 bytes
/// an entry. New sagas come last in the orders of time, so those arrays fill up; elsewhere they are two thirds full.
/// </summary>
sealed class OrderedEntries(bool tiesByTime)
{
    const int Most = 256;

    readonly List<Chunk> _chunks = [];

    public int Count { get; private set; }

    /// <summary>Between two slots: before the one it names. Good until the next change.</summary>
    public readonly record struct Place(int Chunk, int Index);

    public bool Add(ulong key, SagaEntry saga)
    {
        if (_chunks.Count == 0) _chunks.Add(new Chunk());
        var last = _chunks[^1];
        if (last.Count == 0 || Compare(last.Slots[last.Count - 1], key, saga) < 0)
        {
            if (last.Count == Most) _chunks.Add(last = new Chunk());
            last.Insert(last.Count, key, saga);
            Count++;
            return true;
        }

        var (at, index) = Find(key, saga);
        var chunk = _chunks[at];
        if (Compare(chunk.Slots[index], key, saga) == 0) return false;
        if (chunk.Count == Most)
        {
            var upper = chunk.Split();
            _chunks.Insert(at + 1, upper);
            if (index > chunk.Count) (chunk, index) = (upper, index - chunk.Count);
        }

        chunk.Insert(index, key, saga);
        Count++;
        return true;
    }

    public bool Remove(ulong key, SagaEntry saga)
    {
        var (at, index) = Find(key, saga);
        if (at == _chunks.Count) return false;
        var chunk = _chunks[at];
        if (Compare(chunk.Slots[index], key, saga) != 0) return false;
        chunk.RemoveAt(index);
        Count--;
        if (chunk.Count == 0) _chunks.RemoveAt(at);
        else if (at > 0 && _chunks[at - 1].Count + chunk.Count <= Most / 2) Merge(at - 1);
        else if (at + 1 < _chunks.Count && _chunks[at + 1].Count + chunk.Count <= Most / 2) Merge(at);
        return true;
    }

    /// <summary>The first slot that is not below key and entry; without an entry, not below the key.</summary>
    public Place LowerBound(ulong key, SagaEntry? saga)
    {
        var (at, index) = Find(key, saga);
        return new Place(at, index);
    }

    public Place Start => new(0, 0);

    public Place End => new(_chunks.Count, 0);

    /// <summary>Steps back and gives what lies there; false at the start.</summary>
    public bool Back(ref Place place, out ulong key, out SagaEntry saga)
    {
        if (place.Index > 0) place = place with { Index = place.Index - 1 };
        else if (place.Chunk > 0) place = new Place(place.Chunk - 1, _chunks[place.Chunk - 1].Count - 1);
        else
        {
            (key, saga) = (0, null!);
            return false;
        }

        (key, saga) = _chunks[place.Chunk].Slots[place.Index];
        return true;
    }

    /// <summary>Gives what lies there and steps on; false at the end.</summary>
    public bool On(ref Place place, out ulong key, out SagaEntry saga)
    {
        if (place.Chunk >= _chunks.Count)
        {
            (key, saga) = (0, null!);
            return false;
        }

        var chunk = _chunks[place.Chunk];
        (key, saga) = chunk.Slots[place.Index];
        place = place.Index + 1 < chunk.Count ? place with { Index = place.Index + 1 } : new Place(place.Chunk + 1, 0);
        return true;
    }

    public int Between(Place from, Place to)
    {
        if (from.Chunk == to.Chunk) return to.Index - from.Index;
        var count = to.Index - from.Index;
        for (var i = from.Chunk; i < to.Chunk; i++) count += _chunks[i].Count;
        return count;
    }

    /// <summary>The first slot that is not below; past the last chunk when there is none.</summary>
    (int Chunk, int Index) Find(ulong key, SagaEntry? saga)
    {
        int low = 0, high = _chunks.Count;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            var chunk = _chunks[middle];
            if (Compare(chunk.Slots[chunk.Count - 1], key, saga) < 0) low = middle + 1;
            else high = middle;
        }

        if (low == _chunks.Count) return (low, 0);
        var slots = _chunks[low].Slots;
        var at = low;
        (low, high) = (0, _chunks[at].Count);
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (Compare(slots[middle], key, saga) < 0) low = middle + 1;
            else high = middle;
        }

        return (at, low);
    }

    int Compare(in Slot slot, ulong key, SagaEntry? saga)
    {
        if (slot.Key != key) return slot.Key < key ? -1 : 1;
        if (saga is null) return 1;
        if (ReferenceEquals(slot.Saga, saga)) return 0;
        if (tiesByTime && slot.Saga.StartedAt != saga.StartedAt) return slot.Saga.StartedAt < saga.StartedAt ? -1 : 1;
        return slot.Saga.Id.SequenceCompareTo(saga.Id);
    }

    void Merge(int at)
    {
        _chunks[at].Append(_chunks[at + 1]);
        _chunks.RemoveAt(at + 1);
    }

    readonly record struct Slot(ulong Key, SagaEntry Saga);

    sealed class Chunk
    {
        public Slot[] Slots = new Slot[4];
        public int Count;

        public void Insert(int index, ulong key, SagaEntry saga)
        {
            if (Count == Slots.Length) Array.Resize(ref Slots, Math.Min(Most, Count * 2));
            Array.Copy(Slots, index, Slots, index + 1, Count - index);
            Slots[index] = new Slot(key, saga);
            Count++;
        }

        public void RemoveAt(int index)
        {
            Count--;
            Array.Copy(Slots, index + 1, Slots, index, Count - index);
            Slots[Count] = default;
        }

        public Chunk Split()
        {
            var keep = Count / 2;
            var upper = new Chunk { Slots = new Slot[Most], Count = Count - keep };
            Array.Copy(Slots, keep, upper.Slots, 0, upper.Count);
            Array.Clear(Slots, keep, upper.Count);
            Count = keep;
            return upper;
        }

        public void Append(Chunk other)
        {
            if (Slots.Length < Count + other.Count) Array.Resize(ref Slots, Most);
            Array.Copy(other.Slots, 0, Slots, Count, other.Count);
            Count += other.Count;
        }
    }
}
