using System.Text.Json;
using Sagas.Participants;

namespace Orders;

/// <summary>Hands parcels to the carrier: a file each. Knows nothing of Redis; the file bears the saga's name, so that a repeat finds it and sends no second parcel.</summary>
public sealed class Shipping(DirectoryInfo data) : IStepHandler<Ship, Parcel>
{
    public async Task<Parcel> HandleAsync(Ship command, CommandContext context, CancellationToken cancel)
    {
        if (command.Address == "Atlantis") throw new RefusedException("no-such-address", "The carrier does not dive.");
        var parcels = data.CreateSubdirectory("parcels");
        await File.WriteAllTextAsync(Path.Combine(parcels.FullName, Uri.EscapeDataString(context.Saga)), JsonSerializer.Serialize(command), cancel);
        return new Parcel($"P-{context.Saga}");
    }
}
