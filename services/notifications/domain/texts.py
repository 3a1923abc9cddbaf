"""What an e-mail says, and in which language somebody is told.

An e-mail says only that there is a task: whoever looks over a shoulder or reads the mailbox learns
that an account exists, no more. All e-mails of a language are equal but for one id of fixed length.
"""

from dataclasses import dataclass

from services.notifications.domain.notices import BY_KIND

LANGUAGES = ("es", "en", "fr")
DEFAULT = "es"
ID_LENGTH = 32

SUBJECTS = {
    "es": "Tiene una tarea en Enlace",
    "en": "You have a task in Enlace",
    "fr": "Vous avez une tâche dans Enlace",
}
BODIES = {
    "es": (
        "Tiene una tarea en Enlace.\n\n{link}\n\nEste mensaje se envía solo;"
        " no hace falta responder.\n"
    ),
    "en": (
        "You have a task in Enlace.\n\n{link}\n\nThis message is sent automatically;"
        " there is no need to answer.\n"
    ),
    "fr": (
        "Vous avez une tâche dans Enlace.\n\n{link}\n\nCe message est envoyé automatiquement ;"
        " il n'est pas nécessaire de répondre.\n"
    ),
}

INVITATION_SUBJECTS = {
    "es": "Invitación a Enlace",
    "en": "Invitation to Enlace",
    "fr": "Invitation à Enlace",
}
INVITATION_BODIES = {
    "es": "Le invitaron a abrir una cuenta en Enlace.\n\n{link}\n\n"
    "El enlace sirve una sola vez y durante 72 horas. Es solo para usted: no lo reenvíe.\n"
    "Si la página le pide el código, es este:\n\n{code}\n\n"
    "Si ya tiene una cuenta con este correo, o si no esperaba este mensaje, no haga nada.\n",
    "en": "You have been invited to open an account in Enlace.\n\n{link}\n\n"
    "The link is good for once, and for 72 hours. It is for you alone: do not pass it on.\n"
    "If the page asks for the code, it is this:\n\n{code}\n\n"
    "If you already have an account with this address, or did not expect this message, do"
    " nothing.\n",
    "fr": "Vous êtes invité à ouvrir un compte dans Enlace.\n\n{link}\n\n"
    "Le lien ne sert qu'une fois et pendant 72 heures. Il n'est que pour vous :"
    " ne le transmettez pas.\n"
    "Si la page vous demande le code, le voici :\n\n{code}\n\n"
    "Si vous avez déjà un compte avec cette adresse, ou si vous n'attendiez pas ce message, ne"
    " faites rien.\n",
}

APPLICATION_SUBJECTS = {
    "es": "Su pedido para entrar a Enlace",
    "en": "Your request to join Enlace",
    "fr": "Votre demande pour rejoindre Enlace",
}
APPLICATION_BODIES = {
    "es": "Alguien pidió con este correo que una organización entre a la red Enlace."
    " Si fue usted, abra el enlace: recién entonces se lee el pedido.\n\n{link}\n\n"
    "El enlace sirve una sola vez y durante tres días.\n"
    "Si la página le pide el código, es este:\n\n{code}\n\n"
    "Si no fue usted, no haga nada: sin el enlace nadie lo lee, y se borra.\n",
    "en": "Somebody gave this address to ask that an organisation join the Enlace network."
    " If it was you, open the link: only then is the request read.\n\n{link}\n\n"
    "The link is good for once, and for three days.\n"
    "If the page asks for the code, it is this:\n\n{code}\n\n"
    "If it was not you, do nothing: without the link nobody reads it, and it is deleted.\n",
    "fr": "Quelqu'un a donné cette adresse pour demander qu'une organisation rejoigne le réseau"
    " Enlace. Si c'est vous, ouvrez le lien : "
    "la demande n'est lue qu'après.\n\n{link}\n\n"
    "Le lien ne sert qu'une fois et pendant trois jours.\n"
    "Si la page vous demande le code, le voici :\n\n{code}\n\n"
    "Si ce n'est pas vous, ne faites rien : sans le lien personne ne la lit, et elle est"
    " effacée.\n",
}

_RESET_SUBJECTS = {
    "es": "Contraseña nueva de Enlace",
    "en": "New password for Enlace",
    "fr": "Nouveau mot de passe Enlace",
}
_CHANGED_SUBJECTS = {
    "es": "Su contraseña de Enlace cambió",
    "en": "Your Enlace password has changed",
    "fr": "Votre mot de passe Enlace a changé",
}
_REMOVED_SUBJECTS = {
    "es": "Cambió cómo entra a Enlace",
    "en": "Your sign-in to Enlace has changed",
    "fr": "Votre accès à Enlace a changé",
}
_STOPPED_SUBJECTS = {
    "es": "Su organización no entra a Enlace por ahora",
    "en": "Your organisation has no access to Enlace for now",
    "fr": "Votre organisation n'a pas accès à Enlace pour le moment",
}
ACCOUNT_SUBJECTS = {
    "password_reset_asked": _RESET_SUBJECTS,
    "password_changed": _CHANGED_SUBJECTS,
    "second_factor_removed": _REMOVED_SUBJECTS,
    "second_factor_removed_by_coordination": _REMOVED_SUBJECTS,
    "provider_proposed": {
        "es": "Proponen otra forma de entrar a Enlace para su gente",
        "en": "Another way for your people to sign in to Enlace is proposed",
        "fr": "On propose une autre façon d'entrer dans Enlace pour vos gens",
    },
    "entry_proposed": {
        "es": "Proponen cambiar la ficha de su organización en Enlace",
        "en": "A change of your organisation's entry in Enlace is proposed",
        "fr": "Un changement de la fiche de votre organisation dans Enlace est proposé",
    },
    "key_made": {
        "es": "Clave de sistema en Enlace",
        "en": "Key of a system in Enlace",
        "fr": "Clé de système dans Enlace",
    },
    "person_invited": {
        "es": "Alguien fue invitado a Enlace",
        "en": "Somebody was invited to Enlace",
        "fr": "Quelqu'un a été invité à Enlace",
    },
    "role_given": {
        "es": "Tarea de la red en Enlace",
        "en": "Role of the network in Enlace",
        "fr": "Rôle du réseau dans Enlace",
    },
    "provider_changed": {
        "es": "Cambia por dónde se entra a Enlace",
        "en": "A way to sign in to Enlace changes",
        "fr": "Une façon d'entrer dans Enlace change",
    },
    "sign_in_changed": {
        "es": "Cambió cómo entra una cuenta de Enlace",
        "en": "The sign-in of an Enlace account has changed",
        "fr": "L'accès d'un compte Enlace a changé",
    },
    "member_held": _STOPPED_SUBJECTS,
    "member_suspended": _STOPPED_SUBJECTS,
    "member_reinstated": {
        "es": "Su organización entra otra vez a Enlace",
        "en": "Your organisation is back in Enlace",
        "fr": "Votre organisation est de retour dans Enlace",
    },
}
ACCOUNT_BODIES = {
    "password_reset_asked": {
        "es": "Alguien pidió cambiar la contraseña de su cuenta en Enlace."
        " Si fue usted, elija otra aquí:\n\n{link}\n\n"
        "El enlace sirve una sola vez y durante una hora. Es solo para usted: no lo reenvíe.\n"
        "Si la página le pide el código, es este:\n\n{code}\n\n"
        "Si no fue usted, no haga nada: su contraseña sigue siendo la misma.\n",
        "en": "Somebody asked to change the password of your account in Enlace."
        " If it was you, choose another here:\n\n{link}\n\n"
        "The link is good for once, and for one hour. It is for you alone: do not pass it on.\n"
        "If the page asks for the code, it is this:\n\n{code}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n",
        "fr": "Quelqu'un a demandé à changer le mot de passe de votre compte dans Enlace."
        " Si c'est vous, choisissez-en un autre ici :\n\n{link}\n\n"
        "Le lien ne sert qu'une fois et pendant une heure. Il n'est que pour vous :"
        " ne le transmettez pas.\n"
        "Si la page vous demande le code, le voici :\n\n{code}\n\n"
        "Si ce n'est pas vous, ne faites rien : votre mot de passe reste le même.\n",
    },
    "password_changed": {
        "es": "Cambió la contraseña de su cuenta en Enlace, y se cerraron sus otras sesiones.\n\n"
        "Si fue usted, no haga nada. Si no fue usted, avise ya a quien dirige su organización, y"
        " elija otra contraseña aquí:\n\n{link}\n",
        "en": "The password of your account in Enlace has changed, and your other sessions have"
        " ended.\n\n"
        "If it was you, do nothing. If it was not you, tell whoever manages your organisation now,"
        " and choose another password here:\n\n{link}\n",
        "fr": "Le mot de passe de votre compte dans Enlace a changé, et vos autres sessions sont"
        " fermées.\n\n"
        "Si c'est vous, ne faites rien. Sinon, prévenez tout de suite qui dirige votre"
        " organisation, et choisissez un autre mot de passe ici :\n\n{link}\n",
    },
    "second_factor_removed": {
        "es": "Quien dirige su organización quitó el código del teléfono y las llaves de acceso con"
        " que usted entra a Enlace, y cerró sus sesiones.\n\n"
        "Su contraseña sigue siendo la misma. Ponga otra vez un código o una llave en Mi"
        " cuenta.\n\n"
        "Si usted no lo pidió, avise ya a la coordinación de la red, y elija otra contraseña"
        " aquí:\n\n{link}\n",
        "en": "Whoever manages your organisation took off the phone code and the passkeys of your"
        " sign-in to Enlace, and ended your sessions.\n\n"
        "Your password stays as it is. Set up a code or a passkey again under My account.\n\n"
        "If you did not ask for it, tell the coordination of the network now, and choose another"
        " password here:\n\n{link}\n",
        "fr": "Qui dirige votre organisation a retiré le code du téléphone et les clés d'accès de"
        " votre compte Enlace, et a fermé vos sessions.\n\n"
        "Votre mot de passe reste le même. Remettez un code ou une clé dans Mon compte.\n\n"
        "Si vous ne l'avez pas demandé, prévenez tout de suite la coordination du réseau, et"
        " choisissez un autre mot de passe ici :\n\n{link}\n",
    },
    "second_factor_removed_by_coordination": {
        "es": "La coordinación de la red quitó el código del teléfono y las llaves de acceso con"
        " que usted entra a Enlace, y cerró sus sesiones.\n\n"
        "Su contraseña sigue siendo la misma. Ponga otra vez un código o una llave en Mi"
        " cuenta.\n\n"
        "Si usted no lo pidió, llame ya a la coordinación, y elija otra contraseña"
        " aquí:\n\n{link}\n",
        "en": "The coordination of the network took off the phone code and the passkeys of your"
        " sign-in to Enlace, and ended your sessions.\n\n"
        "Your password stays as it is. Set up a code or a passkey again under My account.\n\n"
        "If you did not ask for it, call the coordination now, and choose another password"
        " here:\n\n{link}\n",
        "fr": "La coordination du réseau a retiré le code du téléphone et les clés d'accès de votre"
        " compte Enlace, et a fermé vos sessions.\n\n"
        "Votre mot de passe reste le même. Remettez un code ou une clé dans Mon compte.\n\n"
        "Si vous ne l'avez pas demandé, appelez tout de suite la coordination, et choisissez un"
        " autre mot de passe ici :\n\n{link}\n",
    },
    "provider_proposed": {
        "es": "Alguien de la coordinación propuso que la gente de su organización entre a Enlace"
        " con cuentas de otra dirección. Quien maneje esa dirección "
        "podría entrar como cualquiera de ustedes.\n\nSi su organización lo pidió, no haga nada:"
        " se confirma en tres días como muy pronto.\n"
        "Si no lo pidió, objételo aquí, y avise a la coordinación por teléfono:\n\n{link}\n",
        "en": "Somebody of the coordination proposed that the people of your organisation sign in"
        " to Enlace by accounts at another address. Whoever controls that "
        "address could sign in as any of you.\n\nIf your organisation asked for it, do nothing:"
        " it is confirmed in three days at the earliest.\n"
        "If it did not, object here, and tell the coordination by phone:\n\n{link}\n",
        "fr": "Quelqu'un de la coordination a proposé que les gens de votre organisation entrent"
        " dans Enlace par des comptes d'une autre adresse. Qui maîtrise "
        "cette adresse pourrait entrer à la place de chacun de vous.\n\nSi votre organisation l'a"
        " demandé, ne faites rien : ce sera confirmé dans trois jours "
        "au plus tôt.\nSinon, opposez-vous ici, et prévenez la coordination par téléphone"
        " :\n\n{link}\n",
    },
    "entry_proposed": {
        "es": "Alguien de la coordinación propuso cambiar el tipo, el país o el número público de"
        " su organización. De esto depende quién la encuentra, qué recibe y "
        "adónde se llama. Lo tiene que confirmar alguien más de la coordinación.\n\nSi su"
        " organización lo pidió, no haga nada. Si no, llame ya a la "
        "coordinación, y mírelo aquí:\n\n{link}\n",
        "en": "Somebody of the coordination proposed to change the kind, the country or the public"
        " number of your organisation. Who finds it, what it is sent and "
        "where people call depend on that. Somebody else of the coordination has to confirm"
        " it.\n\nIf your organisation asked for it, do nothing. If not, call "
        "the coordination now, and look at it here:\n\n{link}\n",
        "fr": "Quelqu'un de la coordination a proposé de changer le type, le pays ou le numéro"
        " public de votre organisation. Qui la trouve, ce qu'elle reçoit et où "
        "l'on appelle en dépendent. Quelqu'un d'autre de la coordination doit le confirmer.\n\nSi"
        " votre organisation l'a demandé, ne faites rien. Sinon, appelez "
        "tout de suite la coordination, et regardez ici :\n\n{link}\n",
    },
    "key_made": {
        "es": "Una cuenta de su organización hizo, confirmó o tomó a su cargo una clave de sistema."
        " Sigue aunque esa cuenta cambie su contraseña. "
        "Si fue usted, o lo sabe, no haga nada. Si no, mírelo y termínelo aquí, y pida a quien usa"
        " esa cuenta que cambie su contraseña:\n\n{link}\n",
        "en": "An account of your organisation made, confirmed or took over a key by which a system"
        " uses Enlace. It goes on when that account changes its password. "
        "If it was you, or you know of it, do nothing. If not, look at it and end it here, and have"
        " the holder of that account change the password:\n\n{link}\n",
        "fr": "Un compte de votre organisation a créé, confirmé ou repris une clé de système."
        " Elle reste même si ce compte change de mot de passe. "
        "Si c'est vous, ou si vous le savez, ne faites rien. Sinon, regardez-le et mettez-y fin"
        " ici, et faites changer le mot de passe de ce compte :\n\n{link}\n",
    },
    "person_invited": {
        "es": "Una cuenta de su organización invitó a alguien a abrir una cuenta en Enlace. "
        "Si fue usted, o lo sabe, no haga nada. Si no, mírelo y termínelo aquí, y pida a quien usa"
        " esa cuenta que cambie su contraseña:\n\n{link}\n",
        "en": "An account of your organisation invited somebody to open an account in Enlace. "
        "If it was you, or you know of it, do nothing. If not, look at it and end it here, and have"
        " the holder of that account change the password:\n\n{link}\n",
        "fr": "Un compte de votre organisation a invité quelqu'un à ouvrir un compte dans Enlace. "
        "Si c'est vous, ou si vous le savez, ne faites rien. Sinon, regardez-le et mettez-y fin"
        " ici, et faites changer le mot de passe de ce compte :\n\n{link}\n",
    },
    "role_given": {
        "es": "En Enlace se invitó a alguien a coordinar o a auditar la red, o se confirmó esa"
        " invitación. "
        "Si fue usted, o lo sabe, no haga nada. Si no, mírelo y termínelo aquí, y pida a quien usa"
        " esa cuenta que cambie su contraseña:\n\n{link}\n",
        "en": "In Enlace somebody was invited to coordinate or audit the network, or that"
        " invitation was confirmed. "
        "If it was you, or you know of it, do nothing. If not, look at it and end it here, and have"
        " the holder of that account change the password:\n\n{link}\n",
        "fr": "Dans Enlace quelqu'un a été invité à coordonner ou à auditer le réseau, ou cette"
        " invitation a été confirmée. "
        "Si c'est vous, ou si vous le savez, ne faites rien. Sinon, regardez-le et mettez-y fin"
        " ici, et faites changer le mot de passe de ce compte :\n\n{link}\n",
    },
    "provider_changed": {
        "es": "En Enlace se propuso, se confirmó o se quitó la dirección por la que entra la gente"
        " de una organización. "
        "Si fue usted, o lo sabe, no haga nada. Si no, mírelo y termínelo aquí, y pida a quien usa"
        " esa cuenta que cambie su contraseña:\n\n{link}\n",
        "en": "In Enlace the address by which the people of an organisation sign in was proposed,"
        " confirmed or ended. "
        "If it was you, or you know of it, do nothing. If not, look at it and end it here, and have"
        " the holder of that account change the password:\n\n{link}\n",
        "fr": "Dans Enlace, l'adresse par laquelle entrent les gens d'une organisation a été"
        " proposée, confirmée ou retirée. "
        "Si c'est vous, ou si vous le savez, ne faites rien. Sinon, regardez-le et mettez-y fin"
        " ici, et faites changer le mot de passe de ce compte :\n\n{link}\n",
    },
    "sign_in_changed": {
        "es": "En una cuenta de Enlace de su organización se puso o se quitó un código del teléfono"
        " o una llave de acceso. "
        "Si fue usted, o lo sabe, no haga nada. Si no, mírelo y termínelo aquí, y pida a quien usa"
        " esa cuenta que cambie su contraseña:\n\n{link}\n",
        "en": "At an Enlace account of your organisation a phone code or a passkey was set up or"
        " taken off. "
        "If it was you, or you know of it, do nothing. If not, look at it and end it here, and have"
        " the holder of that account change the password:\n\n{link}\n",
        "fr": "Sur un compte Enlace de votre organisation, un code du téléphone ou une clé d'accès"
        " a été mis ou retiré. "
        "Si c'est vous, ou si vous le savez, ne faites rien. Sinon, regardez-le et mettez-y fin"
        " ici, et faites changer le mot de passe de ce compte :\n\n{link}\n",
    },
    "member_held": {
        "es": "Alguien de la coordinación de la red detuvo por 24 horas el acceso de su"
        " organización. Si nadie más de la coordinación lo confirma, vuelve solo.\n\n"
        "Mientras tanto no entra nadie de su organización, ni sus sistemas."
        " A quienes tienen algo en curso con ustedes se les avisa. Sigan atendiendo como siempre."
        "\n\nLlame a la coordinación; los números están aquí:\n\n{link}\n",
        "en": "Somebody of the network's coordination stopped your organisation's access for 24"
        " hours. Unless somebody else of the coordination agrees, it comes back "
        "by itself.\n\nUntil then nobody of your organisation can sign in, nor can your systems."
        " Those who have something under way with you are told. Go on with "
        "your work as always.\n\nCall the coordination; the numbers are here:\n\n{link}\n",
        "fr": "Quelqu'un de la coordination du réseau a arrêté pour 24 heures l'accès de votre"
        " organisation. Si nul autre de la coordination ne le confirme, il "
        "revient de lui-même.\n\nD'ici là, aucun de vous ne peut entrer, ni vos systèmes."
        " Celles et ceux qui ont quelque chose en cours avec vous en sont avertis. "
        "Continuez votre travail comme toujours.\n\nAppelez la coordination ;"
        " les numéros sont ici :\n\n{link}\n",
    },
    "member_suspended": {
        "es": "La coordinación de la red suspendió a su organización:"
        " lo decidieron dos, de dos organizaciones.\n\nNo entra nadie de su organización, ni"
        " sus "
        "sistemas, hasta que otra vez lo decidan dos. A quienes tienen algo en curso con ustedes se"
        " les avisa. Sigan atendiendo como siempre.\n\n"
        "Llame a la coordinación; los números están aquí:\n\n{link}\n",
        "en": "The network's coordination suspended your organisation:"
        " two decided it, of two organisations.\n\nNobody of your organisation can sign in, nor"
        " can "
        "your systems, until two decide so again. Those who have something under way with you are"
        " told. Go on with your work as always.\n\n"
        "Call the coordination; the numbers are here:\n\n{link}\n",
        "fr": "La coordination du réseau a suspendu votre organisation :"
        " deux l'ont décidé, de deux organisations.\n\nAucun de vous ne peut entrer, ni vos "
        "systèmes, tant que deux n'en décident pas autrement. Celles et ceux qui ont quelque chose"
        " en cours avec vous en sont avertis. Continuez votre travail comme "
        "toujours.\n\nAppelez la coordination ; les numéros sont ici :\n\n{link}\n",
    },
    "member_reinstated": {
        "es": (
            "La gente y los sistemas de su organización entran otra vez.\n\nMire lo que quedó"
            " esperando, y diga cuánto lugar hay:\n\n{link}\n"
        ),
        "en": (
            "The people and systems of your organisation can sign in again.\n\nLook at what has"
            " been waiting, and say how much room there is:\n\n{link}\n"
        ),
        "fr": (
            "Les gens et les systèmes de votre organisation peuvent entrer de nouveau.\n\nRegardez"
            " ce qui attend, et dites combien de places il y a :\n\n{link}\n"
        ),
    },
}


@dataclass(frozen=True)
class Mail:
    """An e-mail, complete: the id makes its Message-ID, so that a repeat is recognised by the
    mailbox.
    """

    id: str
    recipient: str
    subject: str
    body: str
    language: str


def language_for(tag: str) -> str:
    """One of our languages for a BCP 47 tag."""
    primary = tag.partition("-")[0].lower()
    return primary if primary in LANGUAGES else DEFAULT


def text(kind: str, language: str) -> str:
    """The inbox's text.

    A kind of a later version, already in the store when going back to this one, is shown by its
    code.
    """
    notice = BY_KIND.get(kind)
    return str(getattr(notice, language_for(language))) if notice else kind


def mail(
    delivery_id: str, recipient: str, referral_id: str, language: str, public_url: str
) -> Mail:
    """The e-mail of a message: the kind is not in it, the link is the only thing that differs."""
    chosen = language_for(language)
    link = f"{public_url}/referrals/{referral_id}" if referral_id else f"{public_url}/inbox"
    return Mail(delivery_id, recipient, SUBJECTS[chosen], BODIES[chosen].format(link=link), chosen)


def invitation_mail(
    delivery_id: str, recipient: str, token: str, language: str, public_url: str
) -> Mail:
    """The e-mail of an invitation.

    The token stands behind the # of the link: what is there a browser sends to nobody, and no
    server writes it down.
    """
    chosen = language_for(language)
    body = INVITATION_BODIES[chosen].format(
        link=f"{public_url}/invitation?lang={chosen}#{token}", code=token
    )
    return Mail(delivery_id, recipient, INVITATION_SUBJECTS[chosen], body, chosen)


def application_mail(
    delivery_id: str, recipient: str, token: str, language: str, public_url: str
) -> Mail:
    """The e-mail to whoever applied: nothing that was written into the form is in it, for the
    mailbox may be a stranger's.
    """
    chosen = language_for(language)
    body = APPLICATION_BODIES[chosen].format(
        link=f"{public_url}/join/confirm?lang={chosen}#{token}", code=token
    )
    return Mail(delivery_id, recipient, APPLICATION_SUBJECTS[chosen], body, chosen)


_PLACES = {
    "provider_proposed": "sign-in-provider",
    "entry_proposed": "inbox",
    "key_made": "keys",
    "person_invited": "members",
    "role_given": "inbox",
    "provider_changed": "inbox",
    "sign_in_changed": "account",
    "member_held": "",
    "member_suspended": "",
    "member_reinstated": "",
}
"""The page that a letter leads to, where it is not the one on which another password is asked
for.
"""


def account_mail(
    delivery_id: str, kind: str, recipient: str, token: str, language: str, public_url: str
) -> Mail | None:
    """The e-mail of what somebody is told of her own account; None for a kind of a later version.

    Its token stands where that of an invitation does.
    """
    if kind not in ACCOUNT_BODIES:
        return None
    chosen = language_for(language)
    place = (
        f"reset?lang={chosen}#{token}" if token else _PLACES.get(kind, "forgot") + f"?lang={chosen}"
    )
    link = f"{public_url}/{place}"
    return Mail(
        delivery_id,
        recipient,
        ACCOUNT_SUBJECTS[kind][chosen],
        ACCOUNT_BODIES[kind][chosen].format(link=link, code=token),
        chosen,
    )
